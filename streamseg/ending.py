"""The end of a run: stops the processes in order, and takes what they still report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamseg.ipc.clock import Clock, now_s
from streamseg.ipc.stage_messages import Failed, LogLine, Progress, Published, Recorded
from streamseg.monitor.observer import Observer
from streamseg.process import FINISH_S, STOP_S, Process
from streamseg.processes import Processes

_TERMINATE_S = 1.0
_POLL_S = 0.01


class Ending:
    """Ends processes: those that are ready in an orderly way, the others at once, those that do not end by force.

    On a busy machine, a stage may take seconds to turn. One that finishes something gets more time than the others.

    Attributes:
        failure: What a stage failed at while it ended.
    """

    def __init__(self, processes: Processes, observer: Observer, clock: Clock, killed: Callable[[], bool]) -> None:
        """Begin with the processes of a run; when `killed` is true, none is waited for any longer."""
        self.failure: Failed | None = None
        self._processes = processes
        self._observer = observer
        self._clock = clock
        self._killed = killed

    def stop(self, reason: str) -> None:
        """End every process; `reason` goes on the wire."""
        running = self._processes.running
        for last in (False, True):
            self._stop([process for process in running if process.entry.last == last], reason)
        self._take_reports()

    def _stop(self, group: Sequence[Process], reason: str) -> None:
        for process in group:
            process.stop(reason, now_s(self._clock))
        self._wait(STOP_S, group)
        finishing = [process for process in group if process.ready and process.entry.finishes]
        for process in group:
            if process not in finishing:
                process.handle.terminate()
        self._wait(FINISH_S, finishing)
        for process in group:
            process.handle.terminate()
        self._wait(_TERMINATE_S, group)
        for process in group:
            process.handle.kill()
            process.handle.wait()

    def _wait(self, seconds: float, awaited: Sequence[Process]) -> None:
        """Wait some seconds for the end of processes, and again as long after one of them reported long work."""
        end_s = now_s(self._clock) + seconds
        while not self._killed() and now_s(self._clock) < end_s and any(process.handle.alive for process in awaited):
            if self._take_reports():
                end_s = now_s(self._clock) + seconds
            self._clock.sleep(_POLL_S)

    def _take_reports(self) -> bool:
        """Take what the stages report while they end; whether one of them is busy with long work."""
        busy = False
        while self._processes.pending:
            match self._processes.receive():
                case _, _, Published() as published:
                    self._observer.published(published)
                case _, _, Recorded() as recorded:
                    self._observer.recorded(recorded)
                case _, _, LogLine(level, text):
                    self._observer.logged(level, text)
                case _, _, Progress(0):
                    busy = True
                case _, _, Failed() as failure:
                    self.failure = failure
        return busy
