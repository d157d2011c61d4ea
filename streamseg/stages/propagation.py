"""The masks of each published frame: those that segment made on it, or older ones propagated to it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Self

from streamseg.config import Config
from streamseg.duplicates import merge_masks
from streamseg.ipc.descriptors import Boxes, FrameDescriptor, Masks
from streamseg.messages import Image, TrackedObject
from streamseg.models.registry import create_refiner
from streamseg.propagate.keyframe_mask import FrameTime
from streamseg.propagate.propagator import Budget, Propagator
from streamseg.stages.frame_budget import FrameBudget
from streamseg.stages.packing import unpack_keyframe_masks

_MISSED_FRAMES = 5
"""For how many frames a live object is kept while the detector misses it. A file has only the detected objects."""


class Propagation:
    """Turns boxes and keyframe masks into the objects of each frame, in the order of the frames."""

    def __init__(
        self, propagator: Propagator | None, budget: FrameBudget | None = None, *, merge_duplicates: bool = True
    ) -> None:
        """Without a propagator, an object has a mask only on its keyframe. Objects with one mask can be merged.

        Without a budget, every frame propagates all objects, however long it takes.
        """
        self._propagator = propagator
        self._budget = budget
        self._merge_duplicates = merge_duplicates
        self._boxes_seq = -1

    @classmethod
    def from_config(cls, config: Config, segmenter: str, budget: FrameBudget | None = None) -> Self:
        """Propagate as configured, after the segmenter of that name."""
        merge = config.detector.merge_duplicates
        if not config.propagates_masks:
            return cls(None, merge_duplicates=merge)
        limits = Budget(
            max_age_ns=int(config.propagate.max_age_ms * 1e6),
            missed_frames=_MISSED_FRAMES if config.resolved_mode == "live" else 0,
        )
        refine = create_refiner(segmenter) if config.propagate.refine else None
        return cls(Propagator(limits, refine), budget, merge_duplicates=merge)

    def add(self, masks: Masks) -> None:
        """Add the masks of a keyframe; they count from the next frame on."""
        if self._propagator is not None:
            self._propagator.add(unpack_keyframe_masks(masks))

    def prefetch(self, frame: FrameDescriptor, image: Image | None) -> None:
        """Use the time until the boxes of the next frame arrive: see `Propagator.prefetch`."""
        if self._propagator is not None and image is not None:
            with self._measured():
                self._propagator.prefetch(FrameTime(frame.seq, frame.pts_ns), image, self._most)

    def update(
        self, frame: FrameDescriptor, image: Image | None, boxes: Boxes, masks: Masks | None
    ) -> tuple[TrackedObject, ...]:
        """Advance to a newer frame and return its objects.

        Args:
            frame: The frame.
            image: Its pixels, shape (height, width, 3), uint8, BGR; without them, nothing is propagated.
            boxes: The newest boxes, of this frame or of an older one.
            masks: The newest keyframe masks; used only if nothing is propagated.
        """
        objects = self._objects(frame, image, boxes, masks)
        return merge_masks(objects) if self._merge_duplicates else objects

    def _objects(
        self, frame: FrameDescriptor, image: Image | None, boxes: Boxes, masks: Masks | None
    ) -> tuple[TrackedObject, ...]:
        if self._propagator is None or image is None:
            return _keyframe_objects(boxes, masks if masks is not None and masks.seq == frame.seq else None)
        new = boxes.seq == frame.seq or boxes.seq != self._boxes_seq
        self._boxes_seq = boxes.seq
        detections = boxes.detections if new else None
        time, most = FrameTime(frame.seq, frame.pts_ns), self._most
        with self._measured():
            objects = self._propagator.update(time, image, detections, found_on=boxes.seq, most=most)
        if self._budget is not None and most is not None:
            self._budget.add_propagated(min(self._propagator.objects, most))
        return objects

    @property
    def _most(self) -> int | None:
        """How many objects the next frame propagates at most; None for all."""
        return None if self._budget is None or self._propagator is None else self._budget.most(self._propagator.objects)

    def _measured(self) -> AbstractContextManager[None]:
        return nullcontext() if self._budget is None else self._budget.propagation()

    def refine(self, *, hurried: bool = False) -> None:
        """Improve the masks of the frames to come: see `Propagator.refine`."""
        if self._propagator is not None:
            self._propagator.refine(hurried=hurried)


def _keyframe_objects(boxes: Boxes, masks: Masks | None) -> tuple[TrackedObject, ...]:
    """The objects with the masks that segment made on this very frame."""
    made = [] if masks is None else unpack_keyframe_masks(masks)
    return tuple(
        next(
            (mask.as_object(detection) for mask in made if mask.detection == detection),
            TrackedObject(detection=detection),
        )
        for detection in boxes.detections
    )
