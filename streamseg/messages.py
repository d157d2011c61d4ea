"""What flows between the rooms: frames, boxes, masks and results.

Boxes are `(x_min, y_min, x_max, y_max)` in pixels of the frame. Times on the monotonic clock (`time.monotonic_ns`) never
leave the machine; `unix` times are wall clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.masks import Mask

Image = NDArray[np.uint8]

PENDING = "pending"
"""Method of an object that the segmenter has not answered yet."""
SEGMENTED = "segmented"
"""Method of a mask that the segmenter made on this very frame."""
PROPAGATED = "propagated"
"""Method of a mask that was carried from an older frame."""
REFINED = "refined"
"""Method of a mask in which the small segmenter that ships in the package has had a say since."""
NONE = "none"
"""Method of an object for which the segmenter found no mask."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: Shape (height, width, 3), uint8, BGR.
        pts_ns: Presentation time in nanoseconds since the source's first frame.
        t_capture_ns: Monotonic clock when the frame was decoded.
        t_capture_unix_ns: Wall clock at the same moment.
    """

    image: Image
    pts_ns: int
    t_capture_ns: int
    t_capture_unix_ns: int

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(
                f"a frame must be a (height, width, 3) uint8 array, not {self.image.dtype}{self.image.shape}"
            )

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.image.shape[0])


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """One object that a detector found.

    Attributes:
        xyxy: The box in pixels of the frame.
        confidence: 0 to 1.
        class_id: The detector's number of the class.
        class_name: The detector's name of the class.
        tracker_id: The track's number, from 1 up; None while the tracker has not confirmed the track.
    """

    xyxy: Box
    confidence: float
    class_id: int
    class_name: str
    tracker_id: int | None = None

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.xyxy, self.confidence))):
            raise ValueError(f"a detection's numbers must be finite: {self.xyxy}, confidence {self.confidence}")


@dataclass(frozen=True, slots=True)
class ObjectMask:
    """A segmenter's result for one detection.

    Attributes:
        mask: None where the model found none.
        predicted_iou: The model's own estimate of the mask's quality, where it has one.
        stability: How little the mask changes with the threshold (0 to 1), where the model says so.
    """

    mask: Mask | None
    predicted_iou: float | None = None
    stability: float | None = None


class Timings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Milliseconds since capture at which a frame passed each point; None where it did not pass it.

    `received` and `published` are publish's; a frame is received when its pixels have been copied, or, where nobody wants to
    see them, when it was announced. `detected` is when the boxes were ready, `encoded` and `decoded` when the
    segmenter had read the picture and drawn the masks, `rendered` when the overlay was drawn, before which the other views are sent.
    """

    received: float | None = None
    detected: float | None = None
    encoded: float | None = None
    decoded: float | None = None
    rendered: float | None = None
    published: float | None = None


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """How many frames each cause has cost, each counted since the stage that counts it was started.

    `*_replaced`: a newer frame took the place of one that waited for the stage. `*_overrun`: the frame left shared memory
    before the stage had read it. `masks_limited`: masks left out because a message would have become too large.
    """

    detect_replaced: int = 0
    segment_replaced: int = 0
    publish_replaced: int = 0
    detect_overrun: int = 0
    segment_overrun: int = 0
    publish_overrun: int = 0
    masks_limited: int = 0


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """Which models made a result; `notice` says in one line why they are not those that were asked for."""

    detector: str
    segmenter: str
    notice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedObject:
    """One object of a published frame.

    Attributes:
        detection: Box, class, confidence and track.
        mask: None while it is `PENDING`, or where there is none.
        method: The model that made the mask, or `PENDING`, `PROPAGATED`, `NONE`.
        origin_seq: Sequence number of the frame from which the mask was made; None without a mask.
        age_ms: Milliseconds between that frame and this one.
    """

    detection: Detection
    mask: Mask | None = None
    method: str = PENDING
    origin_seq: int | None = None
    age_ms: float = 0.0
    predicted_iou: float | None = None
    stability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One published frame with everything that is known about it.

    Attributes:
        run_id: Names the run of the pipeline.
        epoch: Rises with each new geometry or new capture process; `seq` goes on across epochs.
        seq: Number of the frame, from 0; a gap means frames that were not published.
        width: Of the frame, in pixels.
        height: Of the frame, in pixels.
        boxes_seq: The frame on which the boxes were found; None before the detector's first answer.
        jpeg: The picture, where the subscribed view has one.
        gap: Frames missing between the result received before and this one; set by the subscriber.
    """

    run_id: str
    epoch: int
    seq: int
    source: str
    width: int
    height: int
    pts_ns: int
    t_capture_unix_ns: int
    timings: Timings
    dropped: Dropped
    models: Models
    boxes_seq: int | None
    objects: tuple[TrackedObject, ...]
    jpeg: bytes | None = None
    gap: int = 0


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """Announces that the source or a stage changed: `state` is `running`, `restarting`, or, for the source, `disconnected`."""

    run_id: str
    source: str
    stage: str
    state: str
    detail: str = ""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """Sent each second: the pipeline lives; `seq` is the frame published last, None before the first."""

    run_id: str
    source: str
    seq: int | None
    t_unix_ns: int


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The run is over; `seq` is the last frame, None where there was none."""

    run_id: str
    source: str
    seq: int | None
    reason: str


Message = Result | SourceState | Heartbeat | End
