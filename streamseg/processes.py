"""The processes of a run: which there are, how they start, and the messages to and from them."""

from __future__ import annotations

import logging
import queue
from functools import partial
from itertools import count

from streamseg.config import Config
from streamseg.ipc.clock import Clock, now_s
from streamseg.ipc.launcher import Launcher
from streamseg.ipc.stage_messages import RemoveLane, StageSpec, ToStage, ToSupervisor
from streamseg.lane import Lane
from streamseg.plan import RunPlan
from streamseg.process import Place, Process
from streamseg.topology import StageEntry, StageKey, Topology

_PAUSED_S = 1.0


class Processes:
    """A place for each process that the topology and the sources need, and what runs there."""

    def __init__(
        self, plan: RunPlan, topology: Topology, launcher: Launcher, clock: Clock, *, link_key: bytes, hub: str
    ) -> None:
        """Begin with places for the sources of the plan, of which those that all sources share are due.

        Args:
            plan: Of the start of the run.
            topology: Has the stages.
            launcher: Starts them.
            clock: To watch them by.
            link_key: Authenticates messages on the run's links.
            hub: Address at which publish processes connect to the hub.
        """
        self._plan = plan
        self._live = plan.config.resolved_mode == "live"
        self._topology = topology
        self._launcher = launcher
        self._clock = clock
        self._link_key = link_key
        self._hub = hub
        self._launches = count(1)
        self._arrived: queue.SimpleQueue[tuple[Place, int, ToSupervisor | None]] = queue.SimpleQueue()
        self._watched_s = now_s(clock)
        self._places: dict[StageKey, Place] = {}
        self._make_places(plan.config)
        for place in self._places.values():
            if place.entry.shared:
                place.schedule_start()

    @property
    def needed(self) -> list[Place]:
        """Where a process is to run: not for sources that wait for others, have ended or have failed."""
        return [place for place in self._places.values() if place.needed]

    @property
    def running(self) -> list[Process]:
        """Those that were started and have not ended."""
        return [place.process for place in self._places.values() if place.process is not None]

    @property
    def pending(self) -> bool:
        """Whether messages have arrived that `receive` has not returned."""
        return not self._arrived.empty()

    def of(self, lane: Lane) -> list[Place]:
        """The places of one source alone."""
        return [place for key, place in self._places.items() if key.source == lane.name]

    def serving(self, lane: Lane) -> list[Process]:
        """The running ones that serve a source, alone or among others."""
        return [process for process in self.running if lane in process.lanes]

    def due(self) -> list[Place]:
        """Where a process is to be started now."""
        now = now_s(self._clock)
        return [place for place in self._places.values() if place.due_s is not None and now >= place.due_s]

    def launch(self, place: Place, lanes: list[Lane], config: Config) -> Process:
        """Start a process.

        Args:
            place: Where it runs.
            lanes: It serves these sources.
            config: The settings, with the sources that the run has now.

        Raises:
            StageError: The machine has no process, thread or memory left for it.
        """
        launch = next(self._launches)
        deliver = partial(self._deliver, place, launch)
        handle = self._launcher.launch(place.entry.module, self._spec(place, lanes, config), deliver)
        process = Process(place.entry, handle, launch, lanes, progress_s=now_s(self._clock))
        place.process, place.due_s = process, None
        return process

    def receive(self, wait_s: float = 0.0) -> tuple[Place, Process, ToSupervisor | None] | None:
        """The next message of a process, None in place of one if it has ended; None if none of a present one arrives.

        Args:
            wait_s: Seconds to wait at most.
        """
        try:
            place, launch, message = self._arrived.get(timeout=wait_s)
        except queue.Empty:
            return None
        process = place.process
        if process is None or process.launch != launch:
            return None
        if message is None:
            place.process = None
        return place, process, message

    def send(self, entry: StageEntry, lane: Lane, message: ToStage, *, ready: bool = True) -> None:
        """Send to the process of a stage that serves a lane, if it runs, and is ready if it must be."""
        place = self._places.get(entry.key(lane.name))
        if place is not None and place.process is not None and (place.ready or not ready):
            place.process.handle.send(message)

    def watch(self) -> None:
        """Kill those that are stuck, unless the supervisor itself was paused since the last call."""
        now = now_s(self._clock)
        paused_s, self._watched_s = now - self._watched_s, now
        for process in self.running:
            if paused_s > _PAUSED_S:
                process.note_pause(paused_s)
            process.kill_if_stuck(now)

    def add(self, lane: Lane, config: Config) -> None:
        """Have the shared ones serve a new lane, and make places for its own, of which none is due yet."""
        for process in self.running:
            if process.entry.shared:
                process.add_lane(lane, config, live=self._live)
        self._make_places(lane.config)

    def end(self, lane: Lane, reason: str) -> None:
        """Stop those of one source alone for good, and have the shared ones close what belongs to it."""
        for place in self.of(lane):
            place.give_up()
            if place.process is not None:
                place.process.stop(reason, now_s(self._clock))
        for process in self.serving(lane):
            if process.entry.shared:
                process.handle.send(RemoveLane(lane.name))

    def forget(self, lane: Lane) -> None:
        """Remove the places of one source, where nothing runs any more."""
        for place in self.of(lane):
            del self._places[place.key]

    def _make_places(self, config: Config) -> None:
        for entry in self._topology.stages:
            for key in entry.keys(config):
                self._places.setdefault(key, Place(key, entry))

    def _deliver(self, place: Place, launch: int, message: ToSupervisor | None) -> None:
        self._arrived.put((place, launch, message))

    def _spec(self, place: Place, lanes: list[Lane], config: Config) -> StageSpec:
        entry = place.entry
        return StageSpec(
            stage=entry.name,
            title=str(place.key) if len(config.sources) > 1 else entry.name,
            config=config if entry.shared else lanes[0].config,
            lanes=tuple(lane.begin(entry, live=self._live) for lane in lanes),
            link_key=self._link_key,
            links=tuple(link for lane in lanes for link in lane.links_of(entry.name)),
            hub=self._hub,
            models=self._plan.models,
            threads=entry.threads(self._plan.config.threads, live=self._live),
            niceness=entry.niceness,
            log_level=logging.getLogger("streamseg").getEffectiveLevel(),
        )
