"""The ways to carry masks that are measured beside each other: each is shown one frame whose masks are known, then those that follow."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from benchmarks import box_warp
from benchmarks.carried import Flow, Grey, PlainFlow, grey, mask_of, moved, share_of
from benchmarks.propagate_footage import Shown
from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Detection, Image, ObjectMask, TrackedObject
from streamseg.propagate.keyframe_mask import FrameTime, Refine, make_keyframe_masks
from streamseg.propagate.propagator import Budget, Propagator

_FRAME_NS = 1_000_000_000 // 30
_BUDGET: Final = Budget(max_age_ns=10_000_000_000, missed_frames=5)
"""Objects are followed without a detection for as long as in a live run, and their masks are carried farther than is measured."""


class Step:
    """From one frame to the next.

    Args:
        seq: The next frame's number.
        image: Its pixels, shape (height, width, 3), uint8, BGR.
        boxes: The objects in it; None for those that are not visible.
        before: What flow sees of the frame before it.
        finder: Of the footage's flow.
    """

    def __init__(
        self, seq: int, image: Image, boxes: Sequence[Box | None], before: Grey | None, finder: PlainFlow
    ) -> None:
        self.seq, self.image, self.boxes = seq, image, boxes
        self._before, self._finder = before, finder

    @functools.cached_property
    def grey(self) -> Grey:
        """What flow sees of the frame."""
        return grey(self.image)

    @functools.cached_property
    def origins(self) -> Flow:
        """Where each of its pixels was in the frame before; found once for all who ask. The first frame has no such step."""
        assert self._before is not None
        return self._finder.origins(self._before, self.grey)


@dataclass(frozen=True, slots=True, eq=False)
class CarriedMask:
    """A mask on a newer frame; None where it is lost. `predicted_iou` is what its carrier expects of it, where it says so."""

    mask: Mask | None
    predicted_iou: float | None = None


class Carrier(Protocol):
    """Carries the masks of one frame's objects."""

    def follow(self, step: Step) -> list[CarriedMask]:
        """The masks of all objects on the next frame, in their places."""
        ...


StartCarrier = Callable[[int, Shown], Carrier]
"""Shows a carrier the frame of that number, on which the masks are known."""


class InPlace:
    """Leaves each mask where it was."""

    def __init__(self, _: int, start: Shown) -> None:
        self._masks = [CarriedMask(mask) for mask in start.masks]

    def follow(self, _: Step) -> list[CarriedMask]:
        """The same masks."""
        return self._masks


class ByFlow:
    """Moves each mask's pixels by the flow of the whole frame."""

    def __init__(self, _: int, start: Shown) -> None:
        self._shares = [None if mask is None else share_of(mask, *start.image.shape[:2]) for mask in start.masks]

    def follow(self, step: Step) -> list[CarriedMask]:
        """One step further."""
        self._shares = [None if share is None else moved(share, step.origins) for share in self._shares]
        return [CarriedMask(None if share is None else mask_of(share)) for share in self._shares]


class ByBox:
    """Moves and scales each mask as its box has moved since."""

    def __init__(self, _: int, start: Shown) -> None:
        self._start = start

    def follow(self, step: Step) -> list[CarriedMask]:
        """To the newest boxes."""
        height, width = step.image.shape[:2]
        return [
            CarriedMask(
                None
                if mask is None or first is None or box is None
                else box_warp.carry(mask, first, box, width, height)
            )
            for mask, first, box in zip(self._start.masks, self._start.boxes, step.boxes, strict=True)
        ]


class Propagated:
    """Carries masks as the pipeline does; see `Propagator`."""

    def __init__(self, seq: int, start: Shown, refine: Refine | None = None) -> None:
        self._propagator = Propagator(_BUDGET, refine)
        detections = _detections(start.boxes)
        results = [ObjectMask(mask, predicted_iou=1.0) for mask in start.masks if mask is not None]
        self._propagator.add(make_keyframe_masks(_moment(seq), start.image, detections, results, refine))
        self._propagator.update(_moment(seq), start.image, detections)
        self._propagator.refine()

    def follow(self, step: Step) -> list[CarriedMask]:
        """To the newest frame."""
        detections = _detections(step.boxes)
        objects = self._propagator.update(_moment(step.seq), step.image, detections)
        self._propagator.refine()
        found = {each.detection.tracker_id: each for each in objects[: len(detections)]}
        return [_carried(found.get(number)) for number in range(1, len(step.boxes) + 1)]


def _carried(found: TrackedObject | None) -> CarriedMask:
    return CarriedMask(None) if found is None else CarriedMask(found.mask, found.predicted_iou)


def _moment(seq: int) -> FrameTime:
    return FrameTime(seq, seq * _FRAME_NS)


def _detections(boxes: Sequence[Box | None]) -> list[Detection]:
    """Those that are visible, numbered by their places."""
    return [
        Detection(xyxy=box, confidence=1.0, class_id=0, class_name="object", tracker_id=number)
        for number, box in enumerate(boxes, 1)
        if box is not None
    ]
