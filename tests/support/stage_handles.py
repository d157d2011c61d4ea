"""Stages for a supervisor without processes: a test speaks for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from streamseg.errors import StageError
from streamseg.ipc.launcher import Deliver
from streamseg.ipc.stage_messages import Published, Ready, Recorded, StageSpec, Subscribers, ToStage, ToSupervisor
from streamseg.monitor.observer import Observer

Message = TypeVar("Message")


@dataclass
class FakeStage:
    """A stage that records what it receives, and ends when it is terminated or killed."""

    spec: StageSpec
    deliver: Deliver
    status: int | None = None
    received: list[ToStage] = field(default_factory=list)
    ignores_terminate: bool = False

    @property
    def alive(self) -> bool:
        return self.status is None

    def send(self, message: ToStage) -> None:
        self.received.append(message)

    def terminate(self) -> None:
        if not self.ignores_terminate:
            self.die(-15)

    def kill(self) -> None:
        self.die(-9)

    def wait(self) -> int:
        assert self.status is not None, "the supervisor would wait forever"
        return self.status

    def say(self, message: ToSupervisor) -> None:
        """Send a message to the supervisor."""
        self.deliver(message)

    def die(self, status: int = -9) -> None:
        if self.status is None:
            self.status = status
            self.deliver(None)

    def got(self, kind: type[Message]) -> list[Message]:
        """The messages of a kind received so far."""
        return [message for message in self.received if isinstance(message, kind)]


class FakeLauncher:
    """Keeps every stage it started, in order; it refuses to start the next `refusals` ones."""

    def __init__(self) -> None:
        self.started: list[FakeStage] = []
        self.refusals = 0

    def launch(self, module: str, spec: StageSpec, deliver: Deliver) -> FakeStage:
        if self.refusals:
            self.refusals -= 1
            raise StageError(f"{spec.stage} cannot be started")
        self.started.append(FakeStage(spec, deliver))
        return self.started[-1]

    def all(self, stage: str, source: str = "main") -> list[FakeStage]:
        """Every process of a stage that served a source, the newest last."""
        return [
            each
            for each in self.started
            if each.spec.stage == stage and source in [lane.name for lane in each.spec.lanes]
        ]

    def __call__(self, stage: str, source: str = "main") -> FakeStage:
        """The newest process of a stage."""
        return self.all(stage, source)[-1]


class RecordingObserver(Observer):
    """Keeps the events of a run."""

    def __init__(self) -> None:
        self.ready: list[str] = []
        self.frames: list[Published] = []
        self.recorded_frames: list[Recorded] = []
        self.changes: list[tuple[str, str, str]] = []
        self.lines: list[str] = []
        self.subscribers = 0
        self.came_and_went: list[tuple[str, str]] = []

    def added(self, source: str, live: bool, stages: Sequence[str]) -> None:
        self.came_and_went.append(("added", source))

    def removed(self, source: str) -> None:
        self.came_and_went.append(("removed", source))

    def prepared(self, stage: str, source: str | None, ready: Ready) -> None:
        self.ready.append(stage)

    def published(self, published: Published) -> None:
        self.frames.append(published)

    def recorded(self, recorded: Recorded) -> None:
        self.recorded_frames.append(recorded)

    def subscribed(self, subscribers: Subscribers) -> None:
        self.subscribers = subscribers.count

    def changed(self, stage: str, source: str | None, state: str, detail: str) -> None:
        self.changes.append((stage, state, detail))

    def logged(self, level: int, text: str) -> None:
        self.lines.append(text)
