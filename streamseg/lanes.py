"""The lanes of a run, which come and go with its sources."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from itertools import count

from streamseg.config import Config, RecordSettings
from streamseg.errors import StreamsegError
from streamseg.ipc.instance import Instance
from streamseg.ipc.links import LinkAddress, link_address
from streamseg.ipc.stage_messages import Finished
from streamseg.lane import Lane
from streamseg.messages import FAILED, SOURCE_REMOVED
from streamseg.monitor.observer import Observer
from streamseg.processes import Processes
from streamseg.topology import TAP, StageKey, Topology


class Lanes:
    """A lane for each source, by its name.

    A lane waits until it may start, runs, and ends: because its source is finished, has failed or is removed. A removed
    one is forgotten when no process serves it any more; then another may have its name.

    Attributes:
        config: The settings, with the sources that are to run now.
        recordings: The files of every source that the run has or had.
        failures: Errors of the sources that failed while others went on, also of those that were then removed.
        others_follow: Whether other sources start later.
    """

    def __init__(
        self, config: Config, topology: Topology, instance: Instance, processes: Processes, observer: Observer
    ) -> None:
        self.config = config
        self.recordings: list[RecordSettings] = []
        self.failures: list[StreamsegError] = []
        self.others_follow = False
        self._live = config.resolved_mode == "live"
        self._topology = topology
        self._instance = instance
        self._processes = processes
        self._observer = observer
        self._lanes: dict[str, Lane] = {}
        self._numbers = count()
        run_id = secrets.token_hex(8)
        for source in config.sources:
            self._make(source.name, run_id)

    def __iter__(self) -> Iterator[Lane]:
        return iter(tuple(self._lanes.values()))

    def __getitem__(self, source: str) -> Lane:
        return self._lanes[source]

    def get(self, source: str) -> Lane | None:
        """The lane of a source; None if there is no such source (any more)."""
        return self._lanes.get(source)

    @property
    def links(self) -> list[LinkAddress]:
        """The links of all sources."""
        return [link for lane in self for link in lane.links]

    @property
    def finished(self) -> bool:
        """Whether every source is finished."""
        return all(lane.finished is not None and not lane.leaving for lane in self)

    def served_by(self, key: StageKey) -> list[Lane]:
        """The lanes that a new process serves."""
        return [lane for lane in self if key.serves(lane.name) and not lane.ended]

    def change(self, config: Config) -> None:
        """Run other sources from now on; a source that is the same in both settings runs on.

        A source with other settings ends as one that is removed, and is then added.
        """
        self.config = config
        wanted = {source.name: source for source in config.sources}
        leaving = [lane for lane in self if not lane.leaving and wanted.get(lane.name) != lane.source]
        for lane in leaving:
            lane.leaving = True
        self._announce_others()  # before these lanes send their end, which has it
        for lane in leaving:
            self.end(lane, SOURCE_REMOVED)

    def update(self) -> None:
        """Forget the lanes that were removed, add those of new sources, and start those that need not wait."""
        for lane in self:
            if lane.leaving and not self._processes.serving(lane):
                self._forget(lane)
        for source in self.config.sources:
            if source.name not in self._lanes:
                # A run of its own for readers, which take a `seq` that is not higher for a repeated result of one run.
                lane = self._make(source.name, secrets.token_hex(8))
                lane.added = True
                self._processes.add(lane, self.config)
        for lane in self:
            if lane.waits and not lane.leaving and self._may_start(lane):
                self._start(lane)
        self._announce_others()

    def end(self, lane: Lane, reason: str) -> None:
        """End a lane for good: its own processes stop, and the shared ones close what belongs to it."""
        lane.ended = True
        self._processes.end(lane, reason)

    def finish(self, finished: Finished) -> None:
        """Note that the last stage is done with the last frame of a source."""
        self._lanes[finished.source].finished = finished
        self._observer.finished(finished)

    def fail(self, lane: Lane, error: StreamsegError) -> None:
        """End a lane whose source failed for good; the others go on."""
        self.failures.append(error)
        lane.note_state(FAILED, str(error))
        self.finish(Finished(lane.name, None, str(error)))
        self.end(lane, f"failed: {error}")

    def _make(self, source: str, run_id: str) -> Lane:
        # Each has a number of its own, so that nothing of an earlier one is in its way.
        config, number = self.config.of(source), next(self._numbers)
        if config.record not in self.recordings:
            self.recordings.append(config.record)
        present = [entry for entry in self._topology.stages if entry.keys(config)]
        ends = {entry.name for entry in present} | {TAP}
        links = tuple(
            LinkAddress(
                link.sender,
                link.receiver,
                source,
                link_address(self._instance.directory, f"{link.sender}-{link.receiver}-{number}.sock"),
                link.resolve_policy(live=self._live),
            )
            for link in self._topology.links
            if {link.sender, link.receiver} <= ends
        )
        acknowledging = [entry.name for entry in present if entry.acknowledges]
        lane = self._lanes[source] = Lane(config, number, self._instance.name, acknowledging, links, run_id)
        return lane

    def _may_start(self, lane: Lane) -> bool:
        """Whether a lane need not wait; of files in every-frame mode, so many run at once."""
        if self._live or lane.source.is_live:
            return True
        running = [each for each in self if not (each.waits or each.source.is_live) and each.finished is None]
        return len(running) < self.config.files_at_once

    def _start(self, lane: Lane) -> None:
        lane.waits = False
        places = self._processes.of(lane)
        if lane.added:
            self._observer.added(lane.name, lane.source.is_live, [place.entry.name for place in places])
        for place in places:
            place.schedule_start()

    def _forget(self, lane: Lane) -> None:
        del self._lanes[lane.name]
        lane.remove_blocks()
        self._processes.forget(lane)
        self._observer.removed(lane.name)

    def _announce_others(self) -> None:
        """Have readers know when other sources start later, and when no more do: else they leave with the last one."""
        wanted = {source.name for source in self.config.sources}
        follow = any(lane.waits or lane.leaving for lane in self if lane.name in wanted)
        if follow != self.others_follow:
            self.others_follow = follow
            for process in self._processes.running:
                process.announce_others(follow=follow)
