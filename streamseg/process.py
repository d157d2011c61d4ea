"""One process of a run as the supervisor watches it: its progress, its deadlines, and the restarts at its place."""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import dataclass, field

from streamseg.config import Config
from streamseg.errors import StageError
from streamseg.ipc.fork_server import UNKNOWN_STATUS
from streamseg.ipc.launcher import StageHandle
from streamseg.ipc.stage_messages import AddLane, Failed, LaneRemoved, OthersFollow, Progress, Ready, Stop
from streamseg.lane import Lane
from streamseg.topology import StageEntry, StageKey

_PREPARE_S = 90.0
_HUNG_S = 10.0
_HUNG_TURNS = 20
_RESTARTS = 5
_RESTARTS_WITHIN_S = 60.0
_FIRST_BACK_OFF_S = 0.1
STOP_S = 2.0
FINISH_S = 3.0
"""How long a process may take to stop, and then to finish what it sends or writes."""


@dataclass(eq=False)
class Process:
    """A started stage. Times are seconds on the monotonic clock.

    Attributes:
        launch: Its number in the run.
        lanes: The sources it serves.
        progress_s: When it last reported progress, or was started.
        turn_s: Median length of its turns.
        ready: Whether it is prepared.
        failure: The error it reported before it ended.
        stop_by_s: When it is killed if it has not stopped until then, while others go on; None before `stop`.
    """

    entry: StageEntry
    handle: StageHandle
    launch: int
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
        self.stop_by_s = now_s + STOP_S + FINISH_S

    def add_lane(self, lane: Lane, config: Config, *, live: bool) -> None:
        """Have it serve one more source; `config` are the settings with that one."""
        self.handle.send(AddLane(lane.begin(self.entry, live=live), lane.links_of(self.entry.name), config))
        self.lanes.append(lane)

    def announce_others(self, *, follow: bool) -> None:
        """Have it put on the wire whether other sources start later: else readers leave with the last one."""
        if self.entry.announces:
            self.handle.send(OthersFollow(follow))

    def note(self, report: Ready | Failed | Progress | LaneRemoved, now_s: float) -> None:
        """Note what it reports on itself."""
        match report:
            case Ready():
                self.ready, self.progress_s = True, now_s
            case Failed():
                self.failure = report
            case Progress(turn_ns):
                self.progress_s = now_s
                if turn_ns:
                    self.turn_s = turn_ns / 1e9
                elif self.stop_by_s is not None:  # long work at its end, such as joining a recording
                    self.stop_by_s = now_s + STOP_S + FINISH_S
            case LaneRemoved(source):
                self.lanes = [lane for lane in self.lanes if lane.name != source]

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


@dataclass(eq=False)
class Place:
    """Where a process of the topology runs, and its restarts.

    Attributes:
        process: The present one; None before its first start, while a restart is due, and after the last.
        due_s: When to start one, on the monotonic clock; None if that is not due.
        given_up: Whether its source has failed or ended, so that nothing is started any more.
    """

    key: StageKey
    entry: StageEntry
    process: Process | None = None
    due_s: float | None = None
    given_up: bool = False
    _restarts_s: deque[float] = field(default_factory=deque)

    @property
    def ready(self) -> bool:
        """Whether a process runs here that is prepared."""
        return self.process is not None and self.process.ready

    @property
    def restarted(self) -> bool:
        """Whether a process ran here before the present one."""
        return bool(self._restarts_s)

    @property
    def needed(self) -> bool:
        """Whether a process is to run here."""
        return not self.given_up and (self.process is not None or self.due_s is not None)

    def schedule_start(self) -> None:
        """Have a process started at once."""
        self.due_s = 0.0

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

    def give_up(self) -> None:
        """Have nothing started here any more."""
        self.given_up, self.due_s = True, None
