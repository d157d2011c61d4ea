"""Counts the events of a run, each once, in constant memory. The console and Prometheus show the figures."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from streamseg.messages import (
    DISCONNECTED,
    FAILED,
    MOVED,
    PROPAGATED,
    REFINED,
    RESTARTING,
    RUNNING,
    SEGMENTED,
    Dropped,
)
from streamseg.monitor.latency import Histogram

if TYPE_CHECKING:
    from streamseg.ipc.stage_messages import Published, Ready, Recorded, Subscribers

FRAME_AGES_MS: Final = (5.0, 10.0, 20.0, 35.0, 50.0, 100.0, 200.0, 350.0, 500.0, 1000.0, 2000.0, 5000.0)
"""Frame ages at which the histogram is exact."""
MASK_AGES_MS: Final = (
    0.0, 35.0, 100.0, 200.0, 350.0, 500.0, 750.0, 1000.0, 1500.0, 2000.0, 3000.0, 5000.0, 7500.0, 10000.0, 20000.0,
    30000.0, 60000.0,
)  # fmt: skip
"""Mask ages at which the histogram is exact, up to and beyond the default of `propagate.max_age_ms`."""


class SourceStats:
    """Figures of one source.

    Attributes:
        frames: Published frames.
        first_s: When the first was published; 0 without any.
        last_s: When the last was published.
        frames_with_masks: Those with at least one mask.
        frames_with_own_boxes: Those whose boxes were found on the frame itself.
        objects: Objects of all published frames.
        masks: Masks of all published frames.
        keyframes: Segmented keyframes whose masks reached a published frame.
        newest_objects: Objects of the newest frame.
        newest_masks: Masks of the newest frame by method.
        classes: In how many frames each class was found.
        dropped: Lost frames and masks by cause.
        frame_age_ms: From a frame's capture to its publication.
        mask_age_ms: From the frame that a mask was made on to the frame it was published with.
        connected: Whether the source delivers frames.
        recording: Whether a frame was recorded.
        disconnections: How often the source was lost.
        suggestion: What would have helped when masks starved last; None if they never did.
        starved_frames: Frames published while they did.
        failure: Why the source ended before its end; None if it did not.
        removed: Whether the run no longer has the source.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._last_dropped: Counter[str] = Counter()
        self._keyframe: int | None = None
        self.first_s = self._first_keyframe_s = self.last_s = 0.0
        self.frames = self.frames_with_masks = self.frames_with_own_boxes = 0
        self.objects = self.masks = self.keyframes = 0
        self.newest_objects = 0
        self.newest_masks = Counter(dict.fromkeys((SEGMENTED, PROPAGATED, REFINED, MOVED), 0))
        self.classes: Counter[str] = Counter()
        self.dropped = Counter(dict.fromkeys((*Dropped.__struct_fields__, "record_replaced", "record_overrun"), 0))
        self.frame_age_ms = Histogram(FRAME_AGES_MS)
        self.mask_age_ms = Histogram(MASK_AGES_MS)
        self.connected = self.recording = False
        self.disconnections = self.starved_frames = 0
        self.suggestion: str | None = None
        self.failure: str | None = None
        self.removed = False
        self._lost_s = 0.0
        self._lost_at_s: float | None = None
        self._lost = False

    def prepared(self) -> None:
        """Note that capture is ready."""
        self._lost = False

    def published(self, published: Published) -> None:
        """Count a frame, its objects, and what was lost before it."""
        self.last_s = now_s = self._clock_s()
        if self.frames == 0:
            self.first_s = now_s
        # Capture may be ready before its source is: only a frame captured after the last loss proves a connection.
        self.connected = not self._lost
        if self.connected and self._lost_at_s is not None:
            self._lost_s += now_s - self._lost_at_s
            self._lost_at_s = None
        self.frames += 1
        self.suggestion = published.suggestion or self.suggestion
        self.starved_frames += published.suggestion is not None
        self.frames_with_masks += bool(published.masks)
        self.frames_with_own_boxes += published.boxes_seq == published.seq
        self.frame_age_ms.add(published.age_ms)
        self.classes.update(published.classes)
        self._count_objects(published)
        self._count_keyframe(published.masks_seq, now_s)
        self._count_dropped(msgspec.structs.asdict(published.dropped))

    def recorded(self, recorded: Recorded) -> None:
        """Count what the recording misses."""
        self.recording = True
        self._count_dropped({"record_replaced": recorded.record_replaced, "record_overrun": recorded.record_overrun})

    def changed(self, state: str, detail: str) -> None:
        """Note whether the source is connected."""
        # A capture process that runs again may still wait for its source; only a lost source reports a return.
        self.connected = state == RUNNING and self._lost
        self._lost = state != RUNNING
        if state == DISCONNECTED:
            self.disconnections += 1
            self._lost_at_s = self._clock_s() if self._lost_at_s is None else self._lost_at_s
        if state == FAILED:
            self.failure = detail

    def added(self) -> None:
        """Note that the run has the source, perhaps again."""
        self.removed, self.failure = False, None

    def remove(self) -> None:
        """Note that the run no longer has the source."""
        self._lost_s, self._lost_at_s = self.lost_s, None
        self.removed, self.connected = True, False
        self.newest_objects = 0

    @property
    def lost_s(self) -> float:
        """Seconds without the source: from each disconnection to the first frame after it, or to now."""
        return self._lost_s + (0.0 if self._lost_at_s is None else self._clock_s() - self._lost_at_s)

    @property
    def rate(self) -> float:
        """Published frames per second, from the first to the last."""
        return _per_second(self.frames, self.last_s - self.first_s)

    @property
    def keyframe_rate(self) -> float:
        """Keyframes per second, from the first one's masks to the last frame."""
        return _per_second(self.keyframes, self.last_s - self._first_keyframe_s)

    @property
    def own_boxes(self) -> float | None:
        """Share of the frames whose boxes were found on the frame itself, 0 to 1; None without frames."""
        return self.frames_with_own_boxes / self.frames if self.frames else None

    @property
    def masked(self) -> float | None:
        """Share of the objects published with a mask, 0 to 1; None without objects."""
        return self.masks / self.objects if self.objects else None

    def _count_objects(self, published: Published) -> None:
        self.newest_objects = published.objects
        self.objects += published.objects
        self.masks += len(published.masks)
        for method in self.newest_masks:
            self.newest_masks[method] = 0
        for mask in published.masks:
            self.newest_masks[mask.method] += 1
            self.mask_age_ms.add(mask.age_ms)

    def _count_keyframe(self, seq: int | None, now_s: float) -> None:
        if seq is None or seq == self._keyframe:
            return
        if self.keyframes == 0:
            self._first_keyframe_s = now_s
        self._keyframe = seq
        self.keyframes += 1

    def _count_dropped(self, counts: Mapping[str, int]) -> None:
        """Add what each cause has risen by; a stage's counts start at 0 again when it restarts."""
        for cause, count in counts.items():
            before = self._last_dropped[cause]
            self.dropped[cause] += count - before if count >= before else count
            # A restarted publish reports 0 until it has the other stages' counts, so a 0 is no restart of theirs.
            self._last_dropped[cause] = count or before


class RunStats:
    """Counts a run's events; an observer of the pipeline.

    Attributes:
        lock: Held while an event is counted. Another thread that reads several figures holds it too.
        sources: The figures of each source, also of those that were removed.
        restarts: Restarts of each stage.
        subscribers: Programs connected to the hub.
    """

    def __init__(
        self,
        processes: Collection[tuple[str, str | None]],
        sources: Iterable[str],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin before the first event.

        Args:
            processes: Stage and source of each process; no source for those that serve all.
            sources: Their names.
            clock_s: A monotonic clock.
        """
        self._clock_s = clock_s
        self._starting: set[tuple[str, str | None]] = set()
        self.restarts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.sources = {name: SourceStats(clock_s) for name in sources}
        self.subscribers = 0
        self.expect(processes)

    def expect(self, processes: Collection[tuple[str, str | None]]) -> None:
        """Set the processes that are to start; a look at the sources may have shown that they are others."""
        with self.lock:
            self.restarts = Counter(dict.fromkeys((stage for stage, _ in processes), 0))
            self._starting = set(processes)

    def added(self, source: str, stages: Iterable[str]) -> None:
        """Count a source that is added; one that had the same name before keeps its figures."""
        with self.lock:
            self.sources.setdefault(source, SourceStats(self._clock_s)).added()
            self._starting |= {(stage, source) for stage in stages}
            self.restarts.update(dict.fromkeys(stages, 0))

    def removed(self, source: str) -> None:
        """Keep the figures of a source that the run no longer has, if there are any."""
        with self.lock:
            self._starting = {process for process in self._starting if process[1] != source}
            self.sources[source].remove()
            if not self.sources[source].frames:
                del self.sources[source]

    @property
    def present(self) -> dict[str, SourceStats]:
        """The figures of the sources that the run has now."""
        return {name: stats for name, stats in self.sources.items() if not stats.removed}

    def prepared(self, stage: str, source: str | None, ready: Ready) -> None:
        """Note that a process is ready."""
        with self.lock:
            self._starting.discard((stage, source))
            if stage == "capture" and source is not None:
                self.sources[source].prepared()

    def published(self, published: Published) -> None:
        """Count a frame."""
        with self.lock:
            self.sources[published.source].published(published)

    def recorded(self, recorded: Recorded) -> None:
        """Count what a recording misses."""
        with self.lock:
            self.sources[recorded.source].recorded(recorded)

    def subscribed(self, subscribers: Subscribers) -> None:
        """Note how many subscribers there are."""
        with self.lock:
            self.subscribers = subscribers.count

    def changed(self, stage: str, source: str | None, state: str, detail: str) -> None:
        """Count a restart; note whether a source is connected."""
        with self.lock:
            if state == RESTARTING:
                self.restarts[stage] += 1
                self._starting.add((stage, source))
            if state == FAILED:
                self._starting = {process for process in self._starting if process[1] != source}
            if source is not None and (stage == "capture" or state == FAILED):
                self.sources[source].changed(state, detail)

    def logged(self, level: int, text: str) -> None:
        """Log lines are not counted."""

    @property
    def up(self) -> bool:
        """Whether every process is ready."""
        return not self._starting

    @property
    def frames(self) -> int:
        """Published frames of all sources."""
        return sum(stats.frames for stats in self.sources.values())

    @property
    def rate(self) -> float:
        """Published frames per second, of all sources together, from the first to the last."""
        sources = [stats for stats in self.sources.values() if stats.frames]
        first_s, last_s = (stats.first_s for stats in sources), (stats.last_s for stats in sources)
        return _per_second(self.frames, max(last_s, default=0.0) - min(first_s, default=0.0))


def _per_second(count: int, seconds: float) -> float:
    return (count - 1) / seconds if count > 1 and seconds > 0 else 0.0
