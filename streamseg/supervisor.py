"""The supervisor: starts the processes of a topology, waits until they are ready, watches, restarts and stops them."""

from __future__ import annotations

import logging
import queue
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count

from streamseg.config import Config, RecordSettings
from streamseg.errors import EndpointInUseError, StageError, StreamsegError, error_from_name
from streamseg.ipc.clock import Clock, SystemClock
from streamseg.ipc.instance import Instance
from streamseg.ipc.launcher import Launcher
from streamseg.ipc.links import LinkAddress, link_address
from streamseg.ipc.stage_messages import (
    Acknowledge,
    AddLane,
    Announce,
    Answer,
    Failed,
    Finished,
    LaneRemoved,
    LogLine,
    OthersFollow,
    Progress,
    Published,
    Ready,
    Recorded,
    Released,
    RemoveLane,
    Requested,
    Resend,
    RingCreated,
    SourceChanged,
    StageSpec,
    Start,
    Subscribers,
    ToStage,
    ToSupervisor,
)
from streamseg.lane import Lane
from streamseg.lanes import Lanes
from streamseg.messages import FAILED, RESTARTING, RUNNING, SOURCE_REMOVED
from streamseg.monitor.observer import Observer
from streamseg.plan import RunPlan
from streamseg.processes import Place, Process, stop_processes
from streamseg.topology import StageEntry, StageKey, Topology, describe_budget

_TICK_S = 0.05
_PAUSED_S = 1.0


class Supervisor:
    """Runs one pipeline. `run` blocks; `stop` and `kill` may be called from a signal handler or another thread."""

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
        self._plan = plan
        self._config = plan.config
        self._topology = topology
        self._instance = instance
        self._observer = observer
        self._launcher = launcher
        self._clock = clock or SystemClock()
        self._live = plan.config.resolved_mode == "live"
        self.link_key = secrets.token_bytes(16)
        """Authenticates messages on the run's links."""
        self._run_id = secrets.token_hex(8)
        self.ended = False
        """Whether it does no more work of `call`."""
        self.reply: Callable[[bytes], bytes] | None = None
        """Does what another program requests, on the supervisor's thread, and returns the reply."""
        self.recordings: list[RecordSettings] = []
        """The files of every source that the run has or had."""
        self._places = {key: Place(key, entry) for entry in topology.stages for key in entry.keys(plan.config)}
        self._lanes = Lanes(topology, instance, live=self._live)
        for source in plan.config.sources:
            self._make_lane(plan.config.of(source.name), self._run_id)
        self._waiting = deque(plan.config.waiting)
        self._launches = count(1)
        self._hub = link_address(instance.directory, "hub.sock")
        self._events: queue.SimpleQueue[tuple[StageKey, int, ToSupervisor | None]] = queue.SimpleQueue()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._origin_ns: int | None = None
        self._stepped_s = self._now_s()
        self._stop_reason: str | None = None
        self._killed = False
        self._last_failure: Failed | None = None

    def stop(self, reason: str) -> None:
        """End in an orderly way."""
        self._stop_reason = self._stop_reason or reason

    def kill(self) -> None:
        """End at once."""
        self._stop_reason = self._stop_reason or "killed"
        self._killed = True

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
        self._drain_events()
        self._raise_last_failure()
        reasons = [lane.finished.reason for lane in self._lanes if lane.finished and lane.state != FAILED]
        return self._stop_reason or next(iter(reasons), "failed")

    def start(self) -> None:
        """Start every process, except those of sources that wait for others to end."""
        for place in self._places.values():
            if place.key.source not in self._waiting:
                self._spawn(place)

    def lane(self, source: str) -> Lane | None:
        """The state of a source; None if there is no such source (any more)."""
        return self._lanes.get(source)

    @property
    def failures(self) -> list[StreamsegError]:
        """Errors of the sources that failed while others went on."""
        return [lane.failure for lane in self._lanes if lane.failure is not None]

    @property
    def lanes(self) -> list[Lane]:
        """The state of each source that is not about to end."""
        return [lane for lane in self._lanes if not lane.leaving]

    @property
    def processes(self) -> dict[StageKey, bool]:
        """Whether each process is running that sources need which do not wait for others to end."""
        places = self._needed()
        return {place.key: place.process is not None and place.process.ready for place in places}

    @property
    def links(self) -> list[LinkAddress]:
        """The links of all sources."""
        return [link for lane in self._lanes for link in lane.links]

    @property
    def over(self) -> bool:
        """Whether every source is finished, or the run is to stop."""
        finished = all(lane.finished is not None and not lane.leaving for lane in self._lanes)
        return self._stop_reason is not None or finished

    def call(self, work: Callable[[], None]) -> None:
        """Do some work on the supervisor's thread, between two steps; callable from any thread or signal handler."""
        self._calls.put(work)

    def change_sources(self, plan: RunPlan) -> None:
        """Run other sources from now on, on the supervisor's thread; a source that is the same in both plans runs on.

        A source with other settings ends as one that is removed, and is then added.
        """
        self._plan, self._config = plan, plan.config
        wanted = {source.name: source for source in plan.config.sources}
        for lane in self._lanes:
            if wanted.get(lane.name) != lane.source:
                self._remove(lane, follow=lane.name in wanted or bool(self._waiting))

    def step(self, wait_s: float = _TICK_S) -> None:
        """Handle one event, waiting for it at most `wait_s`; then restart what is due and look for what hangs."""
        try:
            key, launch, message = self._events.get(timeout=wait_s)
        except queue.Empty:
            pass
        else:
            place = self._places.get(key)
            if place is not None and place.process is not None and place.launch == launch:
                self._handle(place, place.process, message)
        now = self._now_s()
        if now - self._stepped_s > _PAUSED_S:
            for process in self._processes():
                process.note_pause(now - self._stepped_s)
        self._stepped_s = now
        while not self._calls.empty():
            self._calls.get()()
        if self._replace_lanes() and self._origin_ns is None:
            self._start_if_ready()
        for place in self._places.values():
            if place.due_s is not None and now >= place.due_s:
                place.due_s = None
                self._spawn(place)
        for process in self._processes():
            process.kill_if_stuck(now)
        self._start_waiting_lanes()
        duration, origin_ns = self._config.duration, self._origin_ns
        if duration is not None and origin_ns is not None and self._clock.now_ns() - origin_ns >= duration * 1e9:
            self.stop("duration is over")

    def end(self) -> None:
        """End every process."""
        stop_processes(
            self._processes(),
            self._stop_reason or "failed",
            self._clock,
            busy=self._drain_events,
            killed=lambda: self._killed,
        )

    def _remove(self, lane: Lane, *, follow: bool) -> None:
        """Begin to remove a lane; `follow` if another one takes its place, or starts later."""
        if lane.leaving:
            return
        lane.leaving = True
        if lane.name in self._waiting:
            self._waiting.remove(lane.name)
        own = [place.process for place in self._places_of(lane) if place.process is not None]
        self._announce_others(own, follow=follow)
        self._end_lane(lane, SOURCE_REMOVED)

    def _start_waiting_lanes(self) -> None:
        """Start sources that wait; of files in every-frame mode, as many as may run at once."""
        for lane in [self._lanes[source] for source in self._waiting]:
            if not self._live and not lane.source.is_live and self._running_files() >= self._config.files_at_once:
                return
            self._waiting.remove(lane.name)
            places = self._places_of(lane)
            if lane.added:
                self._observer.added(lane.name, lane.source.is_live, [place.entry.name for place in places])
            for place in places:
                self._spawn(place)
            if not self._waiting:
                self._announce_others(self._processes(), follow=False)

    def _running_files(self) -> int:
        running = [lane for lane in self._lanes if lane.finished is None and lane.name not in self._waiting]
        return sum(not lane.source.is_live for lane in running)

    def _announce_others(self, processes: Iterable[Process], *, follow: bool) -> None:
        """Have these processes tell readers whether other sources start later: else they leave with the last one."""
        for process in processes:
            if process.entry.announces:
                process.handle.send(OthersFollow(follow))

    def _end_lane(self, lane: Lane, reason: str) -> None:
        """End a lane for good: its own processes stop, and the shared ones close what belongs to it."""
        lane.ended = True
        for place in self._places_of(lane):
            place.given_up, place.due_s = True, None
            if place.process is not None:
                place.process.stop(reason, self._now_s())
        for process in self._processes():
            if process.entry.shared and lane in process.lanes:
                process.handle.send(RemoveLane(lane.name))

    def _places_of(self, lane: Lane) -> list[Place]:
        """The processes of one source alone."""
        return [place for key, place in self._places.items() if key.source == lane.name]

    def _needed(self) -> list[Place]:
        """The processes that sources need which do not wait for others to end."""
        return [place for key, place in self._places.items() if not place.given_up and key.source not in self._waiting]

    def _replace_lanes(self) -> bool:
        """Forget the lanes that were removed, and add those of new sources; whether there were any."""
        before = self._lanes.names
        for lane in self._lanes:
            if lane.leaving and not any(lane in process.lanes for process in self._processes()):
                self._lanes.forget(lane)
                self._places = {key: place for key, place in self._places.items() if key.source != lane.name}
                self._observer.removed(lane.name)
        for source in self._config.sources:
            if self._lanes.get(source.name) is None:
                self._add(self._config.of(source.name))
        return self._lanes.names != before

    def _make_lane(self, config: Config, run_id: str) -> Lane:
        if config.record not in self.recordings:
            self.recordings.append(config.record)
        return self._lanes.add(config, run_id)

    def _add(self, config: Config) -> None:
        # A run of its own for readers, which take a `seq` that is not higher for a repeated result of the same run.
        lane = self._make_lane(config, secrets.token_hex(8))
        lane.added = True
        for process in self._processes():
            if process.entry.shared:
                links = tuple(link for link in lane.links if process.entry.name in (link.sender, link.receiver))
                process.handle.send(AddLane(lane.begin(process.entry, live=self._live), links, self._config))
                process.lanes.append(lane)
        keys = {key: entry for entry in self._topology.stages for key in entry.keys(config) if not entry.shared}
        self._places |= {key: Place(key, entry) for key, entry in keys.items()}
        self._waiting.append(lane.name)

    def _handle(self, place: Place, process: Process, message: ToSupervisor | None) -> None:
        if place.given_up and isinstance(message, Ready | SourceChanged | Finished):
            return  # its source is over
        match message:
            case None:
                self._handle_death(place, process)
            case Ready():
                self._handle_ready(place, process, message)
            case Failed():
                process.failure = message
            case Progress():
                process.note_progress(message, self._now_s())
            case Published(source=source, seq=seq):
                self._lanes[source].note_published(message)
                self._observer.published(message)
                self._acknowledge(process.entry, source, seq)
            case Recorded(source=source, seq=seq):
                self._observer.recorded(message)
                self._acknowledge(process.entry, source, seq)
            case Subscribers():
                self._observer.subscribed(message)
            case Acknowledge(source, seq):
                self._acknowledge(process.entry, source, seq)
            case RingCreated(source, ring):
                self._instance.restore_lock()
                self._lanes[source].replace_ring(ring)
            case SourceChanged(source, state, detail):
                self._announce(place.key, [self._lanes[source]], state, detail)
            case LogLine(level, text):
                self._observer.logged(level, text)
            case Finished(source=source, reason=reason):
                self._lanes[source].finished = message
                self._observer.finished(message)
                if not (self._live or self.over):
                    self._end_lane(self._lanes[source], reason)
            case Requested(client, request):
                if self.reply is not None:
                    process.handle.send(Answer(client, self.reply(request)))
            case LaneRemoved(source):
                process.lanes.remove(self._lanes[source])

    def _handle_ready(self, place: Place, process: Process, ready: Ready) -> None:
        process.ready, process.progress_s = True, self._now_s()
        self._observer.prepared(place.key.stage, place.key.source, ready)
        if self._origin_ns is not None:
            self._send_start(process)
            self._request_replays(process)
            if self._live or place.restarted:  # a file that starts late is no change of the run
                self._announce(place.key, process.lanes, RUNNING, "")
        else:
            self._start_if_ready()

    def _start_if_ready(self) -> None:
        """Let the frames flow if every process is ready; in live mode, if one source and all other processes are."""
        places = self._needed()
        late = [place for place in places if place.process is None or not place.process.ready]
        absent = [place for place in late if self._live and place.entry.reads_source]
        if len(late) == len(absent) < sum(place.entry.reads_source for place in places):
            self._origin_ns = self._clock.now_ns()
            for process in self._processes():
                if process.ready:
                    self._send_start(process)

    def _send_start(self, process: Process) -> None:
        now_ns = self._clock.now_ns()
        if process.entry.reads_source:
            for lane in process.lanes:
                lane.origin_ns = lane.origin_ns or now_ns
        origin_ns = min((lane.origin_ns or now_ns for lane in process.lanes), default=now_ns)
        process.handle.send(Start(origin_ns, min((lane.published_pts_ns for lane in process.lanes), default=-1)))

    def _request_replays(self, process: Process) -> None:
        """Make the stages upstream of a new process repeat what it has missed."""
        for entry in self._topology.upstream(process.entry.name):
            if entry.replays:
                for lane in process.lanes:
                    self._send(entry, lane, Resend(lane.name, lane.done))

    def _handle_death(self, place: Place, process: Process) -> None:
        status = process.handle.wait()
        place.process = None
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
            if all(place.process is None for place in self._places_of(lane)):
                lane.remove_blocks()

    def _replace(self, place: Place, process: Process, status: int) -> None:
        """Schedule the restart of a process that has died.

        Raises:
            StreamsegError: It cannot be helped by a restart.
        """
        if process.failure is not None:
            error = error_from_name(process.failure.error, process.failure.message)
            if self._origin_ns is None or not isinstance(error, StageError | EndpointInUseError):
                raise error
        cause = process.cause_of_death(status)
        if self._origin_ns is None:
            raise StageError(f"{place.entry.name} {cause} before it was ready; {process.advice(status)}")
        place.schedule_restart(cause, self._now_s())
        self._announce(place.key, process.lanes, RESTARTING, cause)

    def _give_up(self, place: Place, error: StreamsegError) -> None:
        """End the lane of a process that failed for good; the other lanes go on.

        Raises:
            StreamsegError: The error, if no other lane runs or has ended well, all need this process, or the settings
                say so.
        """
        source = place.key.source
        if source is not None and self._lanes[source].finished is not None:
            place.given_up = True  # it has nothing left to do
            return
        others = [lane for lane in self._lanes if lane.state != FAILED and lane.name != source]
        if source is None or not others or self._config.on_source_failure == "end":
            raise error
        lane = self._lanes[source]
        lane.failure = error
        self._announce(place.key, [lane], FAILED, str(error))
        lane.state, lane.detail = FAILED, str(error)
        lane.finished = Finished(source, None, str(error))
        self._observer.finished(lane.finished)
        self._end_lane(lane, f"failed: {error}")
        if self._origin_ns is None:
            self._start_if_ready()

    def _acknowledge(self, entry: StageEntry, source: str, seq: int) -> None:
        """Note that a stage is done with a frame, and release to capture what every stage is done with."""
        lane = self._lanes[source]
        lane.acknowledge(entry.name, seq)
        done = None if self._live else lane.take_newly_done()
        if done is not None:
            for reader in self._topology.stages:
                if reader.reads_source:
                    self._send(reader, lane, Released(source, done), ready=False)  # it is said only once

    def _announce(self, key: StageKey, lanes: list[Lane], state: str, detail: str) -> None:
        self._observer.changed(key.stage, key.source, state, detail)
        if any(entry.reads_source for entry in self._topology.stages if entry.name == key.stage):
            for lane in lanes:
                lane.state, lane.detail = state, detail
        for entry in self._topology.stages:
            if entry.announces:
                for lane in lanes:
                    self._send(entry, lane, Announce(lane.name, key.stage, state, detail), ready=False)

    def _send(self, entry: StageEntry, lane: Lane, message: ToStage, *, ready: bool = True) -> None:
        """Send to the process of a stage that serves a lane, if it runs, and is ready if it must be."""
        place = self._places.get(entry.key(lane.name))
        process = None if place is None else place.process
        if process is not None and (process.ready or not ready):
            process.handle.send(message)

    def _spawn(self, place: Place) -> None:
        place.launch = next(self._launches)
        lanes = self._lanes.served_by(place.key)
        deliver = partial(self._deliver, place.key, place.launch)
        now = self._now_s()
        try:
            handle = self._launcher.launch(place.entry.module, self._spec(place, lanes), deliver)
        except StageError as error:
            if self._origin_ns is None:
                raise
            try:
                place.schedule_restart(f"failed: {error}", now)
            except StageError as last:
                self._give_up(place, last)
            return
        place.process = Process(place.entry, handle, lanes, progress_s=now)
        if self._waiting:
            self._announce_others([place.process], follow=True)

    def _deliver(self, key: StageKey, launch: int, message: ToSupervisor | None) -> None:
        self._events.put((key, launch, message))

    def _spec(self, place: Place, lanes: list[Lane]) -> StageSpec:
        entry = place.entry
        return StageSpec(
            stage=entry.name,
            title=entry.name if entry.shared or len(self._lanes) == 1 else f"{place.key.source}: {entry.name}",
            config=self._config if place.key.source is None else lanes[0].config,
            run_id=self._run_id if place.key.source is None else lanes[0].run_id,
            lanes=tuple(lane.begin(entry, live=self._live) for lane in lanes),
            link_key=self.link_key,
            links=tuple(link for lane in lanes for link in lane.links if entry.name in (link.sender, link.receiver)),
            hub=self._hub,
            models=self._plan.models,
            threads=entry.threads(self._config.threads, live=self._live),
            niceness=entry.niceness,
            log_level=logging.getLogger("streamseg").getEffectiveLevel(),
        )

    def _processes(self) -> list[Process]:
        return [place.process for place in self._places.values() if place.process is not None]

    def _now_s(self) -> float:
        return self._clock.now_ns() / 1e9

    def _drain_events(self) -> bool:
        """Handle what the stages report while they end; whether one of them is busy with long work."""
        busy = False
        while not self._events.empty():
            match self._events.get()[2]:
                case Published() as published:
                    self._observer.published(published)
                case Recorded() as recorded:
                    self._observer.recorded(recorded)
                case LogLine(level, text):
                    self._observer.logged(level, text)
                case Progress(0):
                    busy = True
                case Failed() as failure:
                    self._last_failure = failure
        return busy

    def _raise_last_failure(self) -> None:
        """Raise what a stage failed at while it ended, unless the run was finished before."""
        failure = self._last_failure
        unfinished = any(lane.finished is None for lane in self._lanes)
        if failure is not None and unfinished and not self._killed:
            raise error_from_name(failure.error, failure.message)
