"""The processes of a run as the supervisor watches them: progress, deadlines and restarts."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from streamseg.errors import StageError
from streamseg.ipc.clock import Clock
from streamseg.ipc.fork_server import UNKNOWN_STATUS
from streamseg.ipc.launcher import StageHandle
from streamseg.ipc.stage_messages import Failed, Progress, Stop
from streamseg.lane import Lane
from streamseg.topology import StageEntry, StageKey

_PREPARE_S = 90.0
_HUNG_S = 10.0
_HUNG_TURNS = 20
_RESTARTS = 5
_RESTARTS_WITHIN_S = 60.0
_FIRST_BACK_OFF_S = 0.1
_STOP_S = 2.0
_FINISH_S = 3.0
_TERMINATE_S = 1.0
_POLL_S = 0.01


@dataclass(eq=False)
class Process:
    """A started stage. Times are seconds on the monotonic clock.

    Attributes:
        lanes: The sources it serves.
        progress_s: When it last reported progress, or was started.
        turn_s: Median length of its turns.
        ready: Whether it is prepared.
        failure: The error it reported before it ended.
        stop_by_s: When it is killed if it has not stopped until then, while others go on; None before `stop`.
    """

    entry: StageEntry
    handle: StageHandle
    lanes: list[Lane]
    progress_s: float
    turn_s: float = 0.0
    ready: bool = False
    hung: bool = False
    failure: Failed | None = None
    stop_by_s: float | None = None

    def stop(self, reason: str, now_s: float) -> None:
        """End it in an orderly way if it is ready, else at once; without waiting for that."""
        if self.ready:
            self.handle.send(Stop(reason))
        else:
            self.handle.terminate()
        self.stop_by_s = now_s + _STOP_S + _FINISH_S

    def note_progress(self, progress: Progress, now_s: float) -> None:
        """Note that its loop turns."""
        self.progress_s = now_s
        if progress.turn_ns:
            self.turn_s = progress.turn_ns / 1e9
        elif self.stop_by_s is not None:  # long work at its end, such as joining a recording
            self.stop_by_s = now_s + _STOP_S + _FINISH_S

    def note_pause(self, seconds: float) -> None:
        """Give it so much more time: the supervisor itself was paused, and its reports are still unread."""
        self.progress_s += seconds
        if self.stop_by_s is not None:
            self.stop_by_s += seconds

    def kill_if_stuck(self, now_s: float) -> None:
        """Kill it if it makes no progress, or does not stop; before it is ready, it has more time for that."""
        if self.stop_by_s is not None:
            if now_s > self.stop_by_s:
                self.handle.kill()
        elif self.ready:
            if not self.hung and now_s - self.progress_s > max(_HUNG_S, _HUNG_TURNS * self.turn_s):
                self.hung = True
                self.handle.kill()
        elif now_s - self.progress_s > (patience_s := self._prepares_within_s()):
            stuck = f"{self.entry.name} made no progress in getting ready for {patience_s:.0f} s"
            self.failure = self.failure or Failed("StageError", f"{stuck}; run with --verbose to see why")
            self.handle.kill()

    def cause_of_death(self, status: int) -> str:
        """Why it ended, for people."""
        if self.failure is not None:
            return f"failed: {self.failure.message}"
        if self.hung:
            return "hung"
        if status == UNKNOWN_STATUS:
            return "ended"
        return f"ended by signal {-status}" if status < 0 else f"ended with status {status}"

    def advice(self, status: int) -> str:
        """What to do about its end before it was ready, for people."""
        if -status == signal.SIGKILL:
            return "if the machine has too little memory (see dmesg), end other programs, or choose smaller models"
        return "run with --verbose to see why"

    def _prepares_within_s(self) -> float:
        sources = [lane.source for lane in self.lanes]
        if self.entry.reads_source and any(source.wait for source in sources):
            return float("inf")
        return _PREPARE_S + max((source.start_timeout for source in sources), default=0.0)


@dataclass
class Place:
    """Where a process of the topology runs, and its restarts.

    Attributes:
        launch: Number of the process; a message from an earlier one no longer counts.
        process: The present one; None while a restart is due.
        due_s: When to restart, on the monotonic clock.
        given_up: Whether its source has failed or ended, so that nothing is restarted.
    """

    key: StageKey
    entry: StageEntry
    launch: int = 0
    process: Process | None = None
    due_s: float | None = None
    given_up: bool = False
    _restarts_s: deque[float] = field(default_factory=deque)

    @property
    def restarted(self) -> bool:
        """Whether a process ran here before the present one."""
        return bool(self._restarts_s)

    def schedule_restart(self, cause: str, now_s: float) -> None:
        """Schedule a restart; the delay doubles with every restart of the last minute.

        Raises:
            StageError: There were too many restarts lately.
        """
        restarts = self._restarts_s
        while restarts and now_s - restarts[0] > _RESTARTS_WITHIN_S:
            restarts.popleft()
        if len(restarts) >= _RESTARTS:
            raise StageError(
                f"{self.entry.name} {cause}, after {_RESTARTS} restarts within {_RESTARTS_WITHIN_S:.0f} s; "
                "run with --verbose to see why"
            )
        self.due_s = now_s + _FIRST_BACK_OFF_S * 2 ** len(restarts)
        restarts.append(now_s)


def stop_processes(
    processes: Sequence[Process], reason: str, clock: Clock, *, busy: Callable[[], bool], killed: Callable[[], bool]
) -> None:
    """End processes: those that are ready in an orderly way, the others at once, those that do not end by force.

    On a busy machine, a stage may take seconds to turn. One that finishes something gets more time than the others.

    Args:
        processes: To end; none is left alive.
        reason: Goes on the wire.
        clock: To wait by.
        busy: Whether one of them reported long work since the last call; it gets more time.
        killed: Whether to wait no longer.
    """

    def wait_for_exit(seconds: float, awaited: Sequence[Process]) -> None:
        deadline_ns = clock.now_ns() + seconds * 1e9
        while not killed() and clock.now_ns() < deadline_ns and any(process.handle.alive for process in awaited):
            if busy():
                deadline_ns = clock.now_ns() + seconds * 1e9
            clock.sleep(_POLL_S)

    def stop_group(group: Sequence[Process]) -> None:
        for process in group:
            process.stop(reason, clock.now_ns() / 1e9)
        wait_for_exit(_STOP_S, group)
        finishing = [process for process in group if process.ready and process.entry.finishes]
        for process in group:
            if process not in finishing:
                process.handle.terminate()
        wait_for_exit(_FINISH_S, finishing)
        for process in group:
            process.handle.terminate()
        wait_for_exit(_TERMINATE_S, group)
        for process in group:
            process.handle.kill()
            process.handle.wait()

    stop_group([process for process in processes if not process.entry.last])
    stop_group([process for process in processes if process.entry.last])
