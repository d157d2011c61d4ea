"""What a run comes to: counted frame by frame, in memory that does not grow with the run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from streamseg.monitor.drops import DropTally
from streamseg.monitor.latency import Histogram

if TYPE_CHECKING:
    from streamseg.ipc.control import Published


class RunFigures:
    """Counts what publish reports.

    Attributes:
        frames: Published.
        frames_with_masks: Those of them with at least one mask.
        classes: In how many frames each class was seen.
        restarts: Of each stage.
        frame_age_ms: From a frame's capture to its publishing.
        mask_age_ms: From the frame a mask was made on to the frame it was published with.
        drops: What the stages have dropped.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self.frames = self.frames_with_masks = self._frames_with_own_boxes = 0
        self._objects = self._masks = self._keyframes = 0
        self._keyframe: int | None = None
        self._first_s = self._first_keyframe_s = self._last_s = 0.0
        self.classes: Counter[str] = Counter()
        self.restarts: Counter[str] = Counter()
        self.frame_age_ms = Histogram()
        self.mask_age_ms = Histogram()
        self.drops = DropTally()

    def add(self, published: Published) -> None:
        """Count a frame."""
        self._last_s = now_s = self._clock_s()
        if self.frames == 0:
            self._first_s = now_s
        self.frames += 1
        self.frames_with_masks += bool(published.masks)
        self._frames_with_own_boxes += published.boxes_seq == published.seq
        self._objects += published.objects
        self._masks += len(published.masks)
        if published.masks_seq is not None and published.masks_seq != self._keyframe:
            self._keyframe = published.masks_seq
            if self._keyframes == 0:
                self._first_keyframe_s = now_s
            self._keyframes += 1
        self.classes.update(published.classes)
        self.frame_age_ms.add(published.age_ms)
        for mask in published.masks:
            self.mask_age_ms.add(mask.age_ms)
        self.drops.add(published.dropped)

    @property
    def rate(self) -> float:
        """Published frames a second, from the first to the last."""
        return _per_second(self.frames, self._last_s - self._first_s)

    @property
    def keyframe_rate(self) -> float:
        """Keyframes a second whose masks have come to a published frame, from the first of them to the last frame."""
        return _per_second(self._keyframes, self._last_s - self._first_keyframe_s)

    @property
    def own_boxes(self) -> float | None:
        """Share of the frames whose boxes were found on the frame itself, 0 to 1; None without frames."""
        return self._frames_with_own_boxes / self.frames if self.frames else None

    @property
    def masked(self) -> float | None:
        """Share of the objects that were published with a mask, 0 to 1; None without objects."""
        return self._masks / self._objects if self._objects else None


def _per_second(count: int, seconds: float) -> float:
    return (count - 1) / seconds if count > 1 and seconds > 0 else 0.0
