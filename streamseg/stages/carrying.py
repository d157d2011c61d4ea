"""Puts masks on the objects of each frame: those that segment has just answered, or older ones carried to where the objects are now."""

from __future__ import annotations

from typing import Self

from streamseg.config import Config
from streamseg.ipc.descriptors import Boxes, FrameDescriptor, Masks, unpack_object_mask
from streamseg.messages import Image, TrackedObject
from streamseg.propagate.known import Learnt, Moment
from streamseg.propagate.propagator import Budget, Propagator
from streamseg.stages.origins import unpack_origin
from streamseg.stages.refining import refiner_of

_MISSED_FRAMES = 5
"""For so long an object is followed that the detector does not find; the objects of a file are those that it finds."""


class CarriedMasks:
    """The masks of the objects, frame by frame."""

    def __init__(self, propagator: Propagator | None) -> None:
        """Carry by `propagator`; without one, an object has a mask only on the frame that segment answered."""
        self._propagator = propagator
        self._boxes_seq = -1

    @classmethod
    def of(cls, config: Config, segmenter: str) -> Self:
        """What the settings ask for, beside the segmenter of that name."""
        settings = config.propagate
        if not config.carries_masks:
            return cls(None)
        live = config.resolved_mode == "live"
        budget = Budget(max_age_ns=int(settings.max_age_ms * 1e6), missed_frames=_MISSED_FRAMES if live else 0)
        return cls(Propagator(budget, refiner_of(config, segmenter)))

    def learn(self, masks: Masks) -> None:
        """Take in segment's answers for a frame."""
        if self._propagator is not None:
            self._propagator.learn(_learnt(masks))

    def foresee(self, frame: FrameDescriptor, image: Image | None) -> None:
        """Use the time until the boxes of the next frame to be published are known; see `Propagator.foresee`."""
        if self._propagator is not None and image is not None:
            self._propagator.foresee(Moment(frame.seq, frame.pts_ns), image)

    def objects(
        self, frame: FrameDescriptor, image: Image | None, boxes: Boxes, masks: Masks | None
    ) -> tuple[TrackedObject, ...]:
        """The objects of a frame.

        Args:
            frame: Which one.
            image: Its pixels, where masks are carried: shape (height, width, 3), uint8, BGR.
            boxes: Detect's newest answer, for this frame or an older one.
            masks: Segment's newest answer.
        """
        if self._propagator is None or image is None:
            return _as_answered(boxes, masks if masks is not None and masks.seq == frame.seq else None)
        news = boxes.seq == frame.seq or boxes.seq != self._boxes_seq
        self._boxes_seq = boxes.seq
        detections = boxes.detections if news else None
        return self._propagator.follow(Moment(frame.seq, frame.pts_ns), image, detections, found_on=boxes.seq)

    def sharpen(self, *, hurried: bool = False) -> None:
        """Let the small segmenter look at the newest frame, for the sake of those that follow; `hurried` only at what has no mask."""
        if self._propagator is not None:
            self._propagator.sharpen(hurried=hurried)


def _learnt(masks: Masks) -> list[Learnt]:
    moment = Moment(masks.seq, masks.pts_ns)
    learnt = []
    for detection, packed in zip(masks.detections, masks.objects, strict=True):
        origin = None if packed.origin is None else unpack_origin(packed.origin)
        learnt.append(Learnt(moment, detection, unpack_object_mask(packed), origin))
    return learnt


def _as_answered(boxes: Boxes, masks: Masks | None) -> tuple[TrackedObject, ...]:
    """The objects with the masks that were made on this very frame; those that were not answered without."""
    answered = [] if masks is None else _learnt(masks)
    own = [
        next((learnt for learnt in answered if learnt.detection == detection), None) for detection in boxes.detections
    ]
    pairs = zip(boxes.detections, own, strict=True)
    return tuple(
        TrackedObject(detection=detection) if learnt is None else learnt.as_object(detection)
        for detection, learnt in pairs
    )
