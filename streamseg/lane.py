"""The supervisor's state of one source: its ring, and how far each stage is with its frames."""

from __future__ import annotations

from collections.abc import Iterable

from streamseg.config import Config, RunSource
from streamseg.ipc.links import LinkAddress
from streamseg.ipc.ring import RingName, last_sequence, remove_blocks
from streamseg.ipc.stage_messages import Finished, LaneSpec, Published
from streamseg.messages import RUNNING, STARTING, Dropped
from streamseg.topology import StageEntry

_NONE = -1
"""Sequence number before the first frame."""


class Lane:
    """One source.

    In every-frame mode, a new process of any stage continues after `done`. An acknowledging stage gets the frames after
    it again; until it has acknowledged them again, capture does not overwrite them. In live mode, each stage continues
    after its own newest frame, and no frame arrives again.
    """

    def __init__(
        self,
        config: Config,
        number: int,
        instance: str,
        acknowledging: Iterable[str],
        links: tuple[LinkAddress, ...] = (),
        run_id: str = "",
    ) -> None:
        """Begin before the first frame.

        Args:
            config: The settings as they hold for the source.
            number: Of the lane; with `instance`, it names the lane's files in shared memory.
            instance: Name of the run on this machine.
            acknowledging: Names of the stages that acknowledge frames.
            links: The source's.
            run_id: Of its messages.
        """
        self.config = config
        self.links = links
        self.run_id = run_id
        # `Lanes` sets these:
        self.added = False
        """Whether its source was added while the run goes on."""
        self.waits = True
        """Whether none of its own processes was started yet: it may wait for others to end."""
        self.leaving = False
        """Whether it ends because its source was removed or changed."""
        self.ended = False
        """Whether its processes are to end for good."""
        self.finished: Finished | None = None
        self.origin_ns: int | None = None
        """The monotonic clock when its frames first flowed."""
        self.published_pts_ns = -1
        self.dropped = Dropped()
        self.state, self.detail = STARTING, ""
        self._prefix = f"{instance}-{number}"
        self._ring: RingName | None = None
        self._acknowledged = dict.fromkeys(acknowledging, _NONE)
        self._highest = dict(self._acknowledged)
        self._reported = _NONE

    @property
    def source(self) -> RunSource:
        """Settings of the source."""
        (source,) = self.config.sources
        return source

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    @property
    def ring(self) -> RingName | None:
        """Where capture writes the frames; None before the first."""
        return self._ring

    @property
    def done(self) -> int:
        """The newest frame that every acknowledging stage is done with, -1 before the first."""
        return min(self._acknowledged.values(), default=_NONE)

    def links_of(self, stage: str) -> tuple[LinkAddress, ...]:
        """Its links that begin or end at a stage."""
        return tuple(link for link in self.links if stage in (link.sender, link.receiver))

    def note_origin(self, now_ns: int) -> None:
        """Note that its frames flow: from now on, unless they did before."""
        self.origin_ns = self.origin_ns or now_ns

    def note_state(self, state: str, detail: str) -> None:
        """Note a change of its source."""
        self.state, self.detail = state, detail

    def acknowledge(self, stage: str, seq: int) -> None:
        """Note that a stage is done with the frames up to `seq`."""
        self._acknowledged[stage] = max(self._acknowledged[stage], seq)
        self._highest[stage] = max(self._highest[stage], seq)

    def take_newly_done(self) -> int | None:
        """`done`, if it has changed since the last call."""
        if self.done <= self._reported:
            return None
        self._reported = self.done
        return self.done

    def note_published(self, published: Published) -> None:
        """Note the presentation time of the newest published frame, and what was lost up to it."""
        self.published_pts_ns = max(self.published_pts_ns, published.pts_ns)
        self.dropped = published.dropped
        if self.state == STARTING:
            self.state = RUNNING

    def replace_ring(self, ring: RingName) -> None:
        """Note capture's new ring and unlink the one before."""
        if self._ring is not None:
            remove_blocks(self._ring.name)
        self._ring = ring

    def remove_blocks(self) -> None:
        """Unlink its rings and the states that stages keep of it."""
        for separator in "-.":
            remove_blocks(f"{self._prefix}{separator}")

    def begin(self, entry: StageEntry, *, live: bool) -> LaneSpec:
        """Describe the lane to a new process of a stage, and reset the stage's acknowledgements to where it resumes."""
        highest = self._highest.get(entry.name, _NONE)
        resume = self._resume_live(entry) if live else self.done
        if entry.reads_source:
            self._reported = _NONE
            # A capture killed before it could report its block left one with the name of the next epoch.
            remove_blocks(f"{self._prefix}-")
        if entry.name in self._acknowledged:
            self._acknowledged[entry.name] = resume
        return LaneSpec(
            source=self.source,
            run_id=self.run_id,
            ring=self._prefix,
            epoch=0 if self._ring is None else self._ring.epoch + 1,
            snapshot=f"{self._prefix}.{entry.name}",
            resume_after=_optional(resume),
            highest_acknowledged=_optional(highest),
            dropped=self.dropped,
            state=self.state,
            detail=self.detail,
        )

    def _resume_live(self, entry: StageEntry) -> int:
        """The frame after which a new process continues in live mode; -1 for a stage that acknowledges none.

        That is the newest frame that the stage acknowledged; for capture, the newest that it wrote, or that any stage
        acknowledged if the ring is gone.
        """
        if not entry.reads_source:
            return self._highest.get(entry.name, _NONE)
        written = None if self._ring is None else last_sequence(self._ring)
        return max([_NONE if written is None else written, *self._highest.values()])


def _optional(seq: int) -> int | None:
    return None if seq == _NONE else seq
