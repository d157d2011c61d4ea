"""Follows the runs of the sources: which are active, which frames are missing, which results are repeated."""

from __future__ import annotations

from dataclasses import dataclass, replace

from streamseg.messages import FAILED, RUNNING, STARTING, End, Heartbeat, Message, ResultMessage, SourceState
from streamseg.wire.limits import SOURCES


@dataclass(frozen=True, slots=True)
class _Run:
    """A run as its reader knows it.

    Attributes:
        before: The frame published last before the newest heartbeat, -1 without one; None if unknown.
        seq: The newest result that the reader received; None before the first.
        state: Of the source, with a `detail` for people; empty while unknown.
    """

    run_id: str
    before: int | None = None
    seq: int | None = None
    state: str = ""
    detail: str = ""


class Runs:
    """The runs of the sources that one reader receives."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._ended: dict[str, _Run] = {}

    @property
    def active(self) -> bool:
        """Whether a run sent a message and has not ended."""
        return bool(self._runs)

    @property
    def states(self) -> dict[str, SourceState]:
        """The state of each source whose run is active, where it is known."""
        return {
            source: SourceState(run_id=run.run_id, source=source, stage="capture", state=run.state, detail=run.detail)
            for source, run in self._runs.items()
            if run.state
        }

    def follow(self, message: Message) -> Message | None:
        """Take the next message, and return it with the gap before it if it is a result; None for a repeated result.

        The gap counts from the previous result, that of the first one from the newest heartbeat before it, which names
        the newest frame that was published by then.
        """
        # A reader of the newest results may take one after the end of its run, which does not begin again.
        runs = self._ended if self._has_ended(message) else self._runs
        run = runs.get(message.source)
        if run is None or run.run_id != message.run_id:
            run = _Run(message.run_id)
        match message:
            case End():
                self._runs.pop(message.source, None)
                self._remember(message.source, run)
                return message
            case ResultMessage(seq=seq):
                if run.seq is not None and seq <= run.seq:
                    return None
                last = run.before if run.seq is None else run.seq
                message = replace(message, gap=0 if last is None else max(0, seq - last - 1))
                # Its source runs, although the heartbeat that reports it may be a second away.
                run = replace(run, seq=seq, state=RUNNING if run.state == STARTING else run.state)
            case Heartbeat(seq=seq, state=state, detail=detail):
                run = replace(run, before=-1 if seq is None else seq, state=state, detail=detail)
            case SourceState(stage=stage, state=state, detail=detail) if stage == "capture" or state == FAILED:
                run = replace(run, state=state, detail=detail)
        runs[message.source] = run
        return message

    def _has_ended(self, message: Message) -> bool:
        ended = self._ended.get(message.source) if isinstance(message, ResultMessage) else None
        return ended is not None and ended.run_id == message.run_id and message.source not in self._runs

    def _remember(self, source: str, run: _Run) -> None:
        self._ended.pop(source, None)
        self._ended[source] = run
        if len(self._ended) > SOURCES:
            del self._ended[next(iter(self._ended))]
