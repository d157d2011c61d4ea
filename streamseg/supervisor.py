"""The supervisor: starts the processes of a topology, waits until they are ready, watches, restarts and stops them."""

from __future__ import annotations

import logging
import queue
import secrets
from collections.abc import Callable, Sequence

from streamseg.ending import Ending
from streamseg.errors import EndpointInUseError, StageError, StreamsegError, error_from_name
from streamseg.frame_flow import FrameFlow
from streamseg.ipc.clock import Clock, SystemClock, now_s
from streamseg.ipc.instance import Instance
from streamseg.ipc.launcher import Launcher
from streamseg.ipc.links import link_address
from streamseg.ipc.stage_messages import (
    Acknowledge,
    Announce,
    Answer,
    Failed,
    Finished,
    LaneRemoved,
    LogLine,
    Progress,
    Published,
    Ready,
    Recorded,
    Requested,
    RingCreated,
    SourceChanged,
    Subscribers,
    ToSupervisor,
)
from streamseg.lane import Lane
from streamseg.lanes import Lanes
from streamseg.messages import FAILED, RESTARTING, RUNNING
from streamseg.monitor.observer import Observer
from streamseg.plan import RunPlan
from streamseg.process import Place, Process
from streamseg.processes import Processes
from streamseg.topology import StageKey, Topology, describe_budget

_TICK_S = 0.05


class Supervisor:
    """Runs one pipeline. `run` blocks; `stop`, `kill` and `call` may be used in a signal handler or another thread.

    Attributes:
        processes: Those of the stages.
        lanes: The state of each source. Other threads may read it.
        link_key: Authenticates messages on the run's links.
        ended: Whether it does no more work of `call`.
        reply: Does what another program requests, on the supervisor's thread, and returns the reply.
    """

    def __init__(
        self,
        plan: RunPlan,
        topology: Topology,
        instance: Instance,
        observer: Observer,
        launcher: Launcher,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._config = plan.config
        self._live = plan.config.resolved_mode == "live"
        self._topology = topology
        self._instance = instance
        self._observer = observer
        self._clock = clock or SystemClock()
        self.link_key = secrets.token_bytes(16)
        self.ended = False
        self.reply: Callable[[bytes], bytes] | None = None
        hub = link_address(instance.directory, "hub.sock")
        self.processes = Processes(plan, topology, launcher, self._clock, link_key=self.link_key, hub=hub)
        self.lanes = Lanes(plan.config, topology, instance, self.processes, observer)
        self._flow = FrameFlow(topology, self.processes, self._clock, live=self._live)
        self._ending = Ending(self.processes, observer, self._clock, lambda: self._killed)
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stop_reason: str | None = None
        self._killed = False

    def stop(self, reason: str) -> None:
        """End in an orderly way."""
        self._stop_reason = self._stop_reason or reason

    def kill(self) -> None:
        """End at once."""
        self._stop_reason = self._stop_reason or "killed"
        self._killed = True

    def call(self, work: Callable[[], None]) -> None:
        """Do some work on the supervisor's thread, between two steps."""
        self._calls.put(work)

    @property
    def over(self) -> bool:
        """Whether every source is finished, or the run is to stop."""
        return self._stop_reason is not None or self.lanes.finished

    def run(self) -> str:
        """Run the pipeline to its end and return the reason of the end.

        Raises:
            StreamsegError: A stage could not start, or failed too often, and no source is left that does not need it;
                nothing is left running.
        """
        stages = [entry for entry in self._topology.stages if entry.keys(self._config)]
        budget = describe_budget(stages, self._config.threads, live=self._live)
        self._observer.logged(logging.INFO, budget)
        try:
            self.start()
            while not self.over:
                self.step()
        finally:
            self.ended = True
            self.end()
        failure = self._ending.failure
        if failure is not None and any(lane.finished is None for lane in self.lanes) and not self._killed:
            raise error_from_name(failure.error, failure.message)
        reasons = [lane.finished.reason for lane in self.lanes if lane.finished and lane.state != FAILED]
        return self._stop_reason or next(iter(reasons), "failed")

    def start(self) -> None:
        """Start every process, except those of sources that wait for others to end."""
        self.lanes.update()
        self._start_due()

    def step(self, wait_s: float = _TICK_S) -> None:
        """Handle one message, waiting for it at most `wait_s`; then do what is due and look for what hangs."""
        received = self.processes.receive(wait_s)
        if received is not None:
            self._handle(*received)
        self.processes.watch()
        while not self._calls.empty():
            self._calls.get()()
        self._flow.begin_if_ready()  # before a file starts in place of one that failed: the others do not wait for it
        self.lanes.update()
        self._start_due()
        duration, origin_ns = self._config.duration, self._flow.origin_ns
        if duration is not None and origin_ns is not None and self._clock.now_ns() - origin_ns >= duration * 1e9:
            self.stop("duration is over")

    def end(self) -> None:
        """End every process."""
        self._ending.stop(self._stop_reason or "failed")

    def _handle(self, place: Place, process: Process, message: ToSupervisor | None) -> None:
        if place.given_up and isinstance(message, Ready | SourceChanged | Finished):
            return  # its source is over
        match message:
            case None:
                self._handle_death(place, process)
            case Ready():
                self._handle_ready(place, process, message)
            case Failed() | Progress() | LaneRemoved():
                process.note(message, now_s(self._clock))
            case Published(source=source, seq=seq):
                self.lanes[source].note_published(message)
                self._observer.published(message)
                self._flow.acknowledge(process.entry, self.lanes[source], seq)
            case Recorded(source=source, seq=seq):
                self._observer.recorded(message)
                self._flow.acknowledge(process.entry, self.lanes[source], seq)
            case Acknowledge(source, seq):
                self._flow.acknowledge(process.entry, self.lanes[source], seq)
            case Subscribers():
                self._observer.subscribed(message)
            case RingCreated(source, ring):
                self._instance.restore_lock()
                self.lanes[source].replace_ring(ring)
            case SourceChanged(source, state, detail):
                self._announce(place.key, [self.lanes[source]], state, detail)
            case LogLine(level, text):
                self._observer.logged(level, text)
            case Finished(source=source, reason=reason):
                self.lanes.finish(message)
                if not (self._live or self.over):
                    self.lanes.end(self.lanes[source], reason)
            case Requested(client, request):
                if self.reply is not None:
                    process.handle.send(Answer(client, self.reply(request)))

    def _handle_ready(self, place: Place, process: Process, ready: Ready) -> None:
        process.note(ready, now_s(self._clock))
        self._observer.prepared(place.key.stage, place.key.source, ready)
        if self._flow.origin_ns is not None:
            self._flow.join(process)
            if self._live or place.restarted:  # a file that starts late is no change of the run
                self._announce(place.key, process.lanes, RUNNING, "")

    def _handle_death(self, place: Place, process: Process) -> None:
        status = process.handle.wait()
        if place.given_up:
            if process.failure is not None:  # for example, its recording cannot be finished
                self._observer.logged(logging.WARNING, f"{place.key}: {process.failure.message}")
            self._remove_blocks(process)
            return
        try:
            self._replace(place, process, status)
        except StreamsegError as error:
            self._give_up(place, error)

    def _remove_blocks(self, process: Process) -> None:
        """Free the shared memory of a source when the last of its own processes has ended: many may follow."""
        for lane in process.lanes:
            if all(place.process is None for place in self.processes.of(lane)):
                lane.remove_blocks()

    def _replace(self, place: Place, process: Process, status: int) -> None:
        """Schedule the restart of a process that has died.

        Raises:
            StreamsegError: It cannot be helped by a restart.
        """
        if process.failure is not None:
            error = error_from_name(process.failure.error, process.failure.message)
            if self._flow.origin_ns is None or not isinstance(error, StageError | EndpointInUseError):
                raise error
        cause = process.cause_of_death(status)
        if self._flow.origin_ns is None:
            raise StageError(f"{place.entry.name} {cause} before it was ready; {process.advice(status)}")
        place.schedule_restart(cause, now_s(self._clock))
        self._announce(place.key, process.lanes, RESTARTING, cause)

    def _start_due(self) -> None:
        for place in self.processes.due():
            if place.given_up:
                continue  # just now, with another place of its lane
            try:
                process = self.processes.launch(place, self.lanes.served_by(place.key), self.lanes.config)
            except StageError as error:
                if self._flow.origin_ns is None:
                    raise
                try:
                    place.schedule_restart(f"failed: {error}", now_s(self._clock))
                except StageError as last:
                    self._give_up(place, last)
            else:
                process.announce_others(follow=self.lanes.others_follow)

    def _give_up(self, place: Place, error: StreamsegError) -> None:
        """End the lane of a process that failed for good; the other lanes go on.

        Raises:
            StreamsegError: The error, if no other lane runs or has ended well, all need this process, or the settings
                say so.
        """
        source = place.key.source
        if source is not None and self.lanes[source].finished is not None:
            place.give_up()  # it has nothing left to do
            return
        others = [lane for lane in self.lanes if lane.state != FAILED and lane.name != source]
        if source is None or not others or self._config.on_source_failure == "end":
            raise error
        lane = self.lanes[source]
        self._announce(place.key, [lane], FAILED, str(error))
        self.lanes.fail(lane, error)

    def _announce(self, key: StageKey, lanes: Sequence[Lane], state: str, detail: str) -> None:
        """Put a change of a source or of a stage on the wire of these lanes."""
        self._observer.changed(key.stage, key.source, state, detail)
        reads_source = any(entry.reads_source for entry in self._topology.stages if entry.name == key.stage)
        for lane in lanes:
            if reads_source:
                lane.note_state(state, detail)
            for entry in self._topology.stages:
                if entry.announces:
                    self.processes.send(entry, lane, Announce(lane.name, key.stage, state, detail), ready=False)
