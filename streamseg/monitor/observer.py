"""What sees a run: the base of every display of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence

from streamseg.ipc.stage_messages import Finished, Published, Ready, Recorded, Subscribers


class Observer:
    """Gets the events of a run, on the supervisor's thread, and ignores them; a subclass uses those it needs."""

    def prepared(self, stage: str, source: str | None, ready: Ready) -> None:
        """A process is ready: a stage's of one source, or of all."""

    def published(self, published: Published) -> None:
        """A frame is published."""

    def recorded(self, recorded: Recorded) -> None:
        """A frame is recorded, or is missing in the recording."""

    def subscribed(self, subscribers: Subscribers) -> None:
        """A subscriber connected or disconnected."""

    def added(self, source: str, live: bool, stages: Sequence[str]) -> None:
        """A source was added while the pipeline runs; each of these stages starts a process for it."""

    def removed(self, source: str) -> None:
        """A source was removed, and its processes have ended."""

    def changed(self, stage: str, source: str | None, state: str, detail: str) -> None:
        """A source, or a process of a stage, changed."""

    def finished(self, finished: Finished) -> None:
        """A source has ended, or failed for good."""

    def logged(self, level: int, text: str) -> None:
        """A stage wrote a log line."""
