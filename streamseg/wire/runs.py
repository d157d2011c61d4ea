"""Follows the runs of the sources: which are active, which frames are missing, which results are repeated."""

from __future__ import annotations

from dataclasses import dataclass, replace

from streamseg.messages import End, Heartbeat, Message, Result


@dataclass(frozen=True, slots=True)
class _Run:
    """A run as its reader knows it.

    Attributes:
        before: The newest frame published before the reader came, -1 before the first; None if unknown.
        seq: The newest result that the reader received; None before the first.
    """

    run_id: str
    before: int | None = None
    seq: int | None = None


class Runs:
    """The runs of the sources that one reader receives."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}

    @property
    def active(self) -> bool:
        """Whether a run sent a message and has not ended."""
        return bool(self._runs)

    def follow(self, message: Message) -> Message | None:
        """Take the next message, and return it with the gap before it if it is a result; None for a repeated result.

        The gap counts from the previous result. Before the first one it counts from the first heartbeat, which names
        the newest frame that was published before.
        """
        run = self._runs.get(message.source)
        if run is None or run.run_id != message.run_id:
            run = _Run(message.run_id)
        match message:
            case End():
                self._runs.pop(message.source, None)
                return message
            case Result(seq=seq):
                if run.seq is not None and seq <= run.seq:
                    return None
                last = run.before if run.seq is None else run.seq
                message = replace(message, gap=0 if last is None else max(0, seq - last - 1))
                run = replace(run, seq=seq)
            case Heartbeat(seq=seq) if run.before is None:
                run = replace(run, before=-1 if seq is None else seq)
        self._runs[message.source] = run
        return message
