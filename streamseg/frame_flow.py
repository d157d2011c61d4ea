"""The flow of frames: when it begins, what a new process gets of it, and what capture may overwrite."""

from __future__ import annotations

from streamseg.ipc.clock import Clock
from streamseg.ipc.stage_messages import Released, Resend, Start
from streamseg.lane import Lane
from streamseg.process import Process
from streamseg.processes import Processes
from streamseg.topology import StageEntry, Topology


class FrameFlow:
    """Lets frames flow through the processes.

    Attributes:
        origin_ns: The monotonic clock when frames first flowed; None before.
    """

    def __init__(self, topology: Topology, processes: Processes, clock: Clock, *, live: bool) -> None:
        self.origin_ns: int | None = None
        self._topology = topology
        self._processes = processes
        self._clock = clock
        self._live = live

    def begin_if_ready(self) -> None:
        """Let frames flow once every process is ready; in live mode, once one source and all other processes are."""
        if self.origin_ns is not None:
            return
        places = self._processes.needed
        late = [place for place in places if not place.ready]
        absent = [place for place in late if self._live and place.entry.reads_source]
        if len(late) == len(absent) < sum(place.entry.reads_source for place in places):
            self.origin_ns = self._clock.now_ns()
            for process in self._processes.running:
                if process.ready:
                    self._start(process)

    def join(self, process: Process) -> None:
        """Let frames flow through a process that is new, and have the stages upstream repeat what it has missed."""
        self._start(process)
        for entry in self._topology.upstream(process.entry.name):
            if entry.replays:
                for lane in process.lanes:
                    self._processes.send(entry, lane, Resend(lane.name, lane.done))

    def acknowledge(self, entry: StageEntry, lane: Lane, seq: int) -> None:
        """Note that a stage is done with a frame, and release to capture what every stage is done with."""
        lane.acknowledge(entry.name, seq)
        done = None if self._live else lane.take_newly_done()
        if done is not None:
            for reader in self._topology.stages:
                if reader.reads_source:  # it is said only once, so also before capture is ready
                    self._processes.send(reader, lane, Released(lane.name, done), ready=False)

    def _start(self, process: Process) -> None:
        now_ns = self._clock.now_ns()
        if process.entry.reads_source:
            for lane in process.lanes:
                lane.note_origin(now_ns)
        origin_ns = min((lane.origin_ns or now_ns for lane in process.lanes), default=now_ns)
        process.handle.send(Start(origin_ns, min((lane.published_pts_ns for lane in process.lanes), default=-1)))
