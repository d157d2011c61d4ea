"""Row types of `STAGES` and `LINKS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from streamseg.config import Config
from streamseg.ipc.links import Policy
from streamseg.threads import available_cores

TAP = "pipeline"
"""Receiver of the results that `Pipeline` yields: the iterating process, not a stage."""

LinkPolicy = Literal["by mode", "newest", "ordered"]
"""`by mode`: the newest message in live mode, every message in order in every-frame mode."""


@dataclass(frozen=True, slots=True)
class StageKey:
    """Names one process: a stage, and its source if it runs once per source."""

    stage: str
    source: str | None

    def __str__(self) -> str:
        return self.stage if self.source is None else f"{self.source}: {self.stage}"

    def serves(self, source: str) -> bool:
        """Whether frames of a source pass through this process."""
        return self.source is None or self.source == source


def _always(config: Config) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class StageEntry:
    """A row of the table of stages.

    Attributes:
        module: Run as a program; never imported elsewhere, so that a failing import stays in the child.
        cores: Share of the cores for its model; 0 for a stage without a model, which has one thread.
        live_cores: The same for a live source, whose frames it must not delay; None if that makes no difference.
        niceness: Added to the process's own.
        shared: One process for all sources, rather than one per source.
        reads_source: Opens the source, writes its frames to the ring, and gets their acknowledgements.
        acknowledges: Reports the frames it is done with; the ring keeps a frame until every such stage is.
        replays: Repeats what it sent when a stage downstream is new.
        announces: Puts changes of the source and of stages on the wire.
        finishes: Has an end to send or files to complete when it stops, and gets more time for that.
        last: Stops when every other process has ended.
        needed: Whether a source with these settings has this stage.
    """

    name: str
    module: str
    cores: float = 0
    live_cores: float | None = None
    niceness: int = 0
    shared: bool = False
    reads_source: bool = False
    acknowledges: bool = False
    replays: bool = False
    announces: bool = False
    finishes: bool = False
    last: bool = False
    needed: Callable[[Config], bool] = _always

    def key(self, source: str) -> StageKey:
        """The process of this stage that serves a source."""
        return StageKey(self.name, None if self.shared else source)

    def keys(self, config: Config) -> list[StageKey]:
        """The processes of this stage."""
        sources = [source.name for source in config.sources if self.needed(config.of(source.name))]
        return [StageKey(self.name, None)] if self.shared else [StageKey(self.name, source) for source in sources]

    def threads(self, per_model: int | None, *, live: bool) -> int:
        """Threads for OpenCV, BLAS, FFmpeg and the model in this stage; `per_model` is the setting `threads`."""
        if self.cores and per_model is not None:
            return per_model
        share = self.live_cores if live and self.live_cores is not None else self.cores
        return max(1, round(available_cores() * share))


@dataclass(frozen=True, slots=True)
class Link:
    """A row of the table of links. Each source has its own link, also between two shared stages."""

    sender: str
    receiver: str
    policy: LinkPolicy = "by mode"

    def resolve_policy(self, *, live: bool) -> Policy:
        """The policy in a run's mode."""
        if self.policy == "by mode":
            return "newest" if live else "ordered"
        return self.policy


@dataclass(frozen=True, slots=True)
class Topology:
    """The stages of a run and the links between them."""

    stages: tuple[StageEntry, ...]
    links: tuple[Link, ...]

    def upstream(self, name: str) -> list[StageEntry]:
        """The stages whose messages reach a stage, directly or through others, the nearest in the table first."""
        found = {name}
        while more := {link.sender for link in self.links if link.receiver in found} - found:
            found |= more
        return [entry for entry in reversed(self.stages) if entry.name in found - {name}]


def describe_budget(stages: Sequence[StageEntry], per_model: int | None, *, live: bool) -> str:
    """The threads of each stage, in one line; `per_model` is the setting `threads`."""
    each = (
        f"{entry.name} {entry.threads(per_model, live=live)}{f' (nice {entry.niceness})' if entry.niceness else ''}"
        for entry in stages
    )
    return f"threads: {', '.join(each)}; {available_cores()} cores"
