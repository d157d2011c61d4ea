"""The lanes of a run, which come and go with its sources."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from streamseg.config import Config
from streamseg.ipc.instance import Instance
from streamseg.ipc.links import LinkAddress, link_address
from streamseg.lane import Lane
from streamseg.topology import TAP, StageKey, Topology


class Lanes:
    """A lane for each source, by its name."""

    def __init__(self, topology: Topology, instance: Instance, *, live: bool) -> None:
        self._topology = topology
        self._instance = instance
        self._live = live
        self._lanes: dict[str, Lane] = {}
        self._numbers = count()

    def __iter__(self) -> Iterator[Lane]:
        return iter(tuple(self._lanes.values()))

    def __len__(self) -> int:
        return len(self._lanes)

    def __getitem__(self, source: str) -> Lane:
        return self._lanes[source]

    @property
    def names(self) -> list[str]:
        """The names of the sources."""
        return list(self._lanes)

    def get(self, source: str) -> Lane | None:
        """The lane of a source; None without one."""
        return self._lanes.get(source)

    def add(self, config: Config, run_id: str) -> Lane:
        """Make the lane of a source. No lane before it had the same number, so nothing of an earlier one is in its way.

        Args:
            config: The settings as they hold for the source.
            run_id: Of its messages.
        """
        number, source = next(self._numbers), config.sources[0].name
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

    def forget(self, lane: Lane) -> None:
        """Remove a lane that no process serves any more, and its files."""
        del self._lanes[lane.name]
        lane.remove_blocks()

    def served_by(self, key: StageKey) -> list[Lane]:
        """The lanes that a new process serves."""
        return [lane for lane in self if key.serves(lane.name) and not lane.ended]
