"""What every stage gets, and what it does: `StageContext`, `Stage`, and `SharedStage` for those of all sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import zmq
from msgspec.structs import replace

from streamseg.ipc.clock import Clock
from streamseg.ipc.frame_memory import FrameMemory
from streamseg.ipc.links import Receiver, Sender
from streamseg.ipc.snapshot import Snapshot
from streamseg.ipc.stage_messages import (
    AddLane,
    LaneRemoved,
    LaneSpec,
    Ready,
    RemoveLane,
    StageSpec,
    ToStage,
    ToSupervisor,
)

SUPERVISOR_GONE = "supervisor gone"
"""Reason of the end that leaves no time for more than closing files."""


class StageContext(Protocol):
    """A stage's surroundings. A test drives a stage without a process by passing a fake one."""

    spec: StageSpec
    """What the supervisor decided for this process. A shared stage replaces it when sources are added or removed."""

    @property
    def clock(self) -> Clock:
        """Where the stage reads time."""
        ...

    @property
    def frames(self) -> FrameMemory:
        """The frames of every source."""
        ...

    @property
    def sockets(self) -> zmq.Context[zmq.Socket[bytes]]:
        """Makes sockets of the stage's own, such as those for subscribers."""
        ...

    def receiver(self, stage: str, source: str, kind: Any) -> Receiver[Any]:
        """The near end of the link from a stage; `kind` is the type, or union of types, that arrives."""
        ...

    def sender(self, stage: str, source: str, linger_ms: int = 0) -> Sender[Any]:
        """The near end of the link to a stage."""
        ...

    def has_link_to(self, stage: str) -> bool:
        """Whether this run has a link from here to a stage."""
        ...

    def close_link(self, link: Sender[Any] | Receiver[Any]) -> None:
        """Close the near end of a link before the end of the process."""
        ...

    def snapshot(self, lane: LaneSpec) -> Snapshot:
        """This stage's state of a source, which outlives the process."""
        ...

    def report(self, message: ToSupervisor) -> None:
        """Send a message to the supervisor."""
        ...

    def progress(self) -> None:
        """Report that a long turn makes progress, or the supervisor restarts the stage as hung."""
        ...

    def wake(self) -> None:
        """Make the loop turn at once; callable from any thread."""
        ...

    def watch(self, socket: zmq.Socket[bytes]) -> None:
        """Turn the loop when a socket of `sockets` is readable, and close it at the end."""
        ...


class Stage(ABC):
    """One stage's work. All methods run on the process's main thread."""

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self.spec = context.spec
        self.config = context.spec.config

    @abstractmethod
    def prepare(self) -> Ready:
        """Load, open and warm up everything.

        Raises:
            StreamsegError: The stage cannot run.
        """

    @abstractmethod
    def turn(self) -> bool:
        """Do what can be done now, without waiting, and return whether that was a frame's work."""

    def instruct(self, message: ToStage) -> None:  # noqa: B027 - a stage may have nothing to obey
        """Obey a message of the supervisor."""

    @abstractmethod
    def close(self, reason: str) -> None:
        """Finish in an orderly way; `reason` goes on the wire."""


class SharedStage(Stage):
    """A stage that serves all sources, which may be added and removed while it runs."""

    def instruct(self, message: ToStage) -> None:
        """Begin to serve a source, or end it."""
        match message:
            case AddLane(lane, links, config):
                self._use(
                    replace(self.spec, lanes=(*self.spec.lanes, lane), links=self.spec.links + links, config=config)
                )
                self.add_lane(lane)
            case RemoveLane(source):
                for link in self.remove_lane(source):
                    self.context.close_link(link)
                for lane in self.spec.lanes:
                    if lane.name == source:
                        self.context.frames.forget(lane.ring)
                lanes = tuple(lane for lane in self.spec.lanes if lane.name != source)
                links = tuple(link for link in self.spec.links if link.source != source)
                self._use(replace(self.spec, lanes=lanes, links=links))
                self.context.report(LaneRemoved(source))

    @abstractmethod
    def add_lane(self, lane: LaneSpec) -> None:
        """Open what the stage needs for a source; `spec` and `config` have it already."""

    @abstractmethod
    def remove_lane(self, source: str) -> list[Sender[Any] | Receiver[Any]]:
        """Forget a source, and return its links."""

    def _use(self, spec: StageSpec) -> None:
        self.context.spec = self.spec = spec
        self.config = spec.config
