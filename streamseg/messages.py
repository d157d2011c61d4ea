"""The data of the pipeline: frames, detections, masks and results.

Boxes are `(x_min, y_min, x_max, y_max)` in pixels of the frame. Times of the monotonic clock (`time.monotonic_ns`)
never leave the machine; `unix` times are wall clock.
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

PixelAspect = tuple[int, int]
"""Width and height of a pixel as it is shown: most are square, those of 576 lines of television 64 to 45."""
SQUARE: PixelAspect = (1, 1)

PENDING = "pending"
"""Method of an object that has no mask: not segmented yet, or its mask is too old or too uncertain."""
SEGMENTED = "segmented"
"""Method of a mask that the segmenter made on this very frame."""
PROPAGATED = "propagated"
"""Method of a mask propagated from an older frame."""
REFINED = "refined"
"""Method of a propagated mask that the refiner (the segmenter `nano`) improved, or of one that it made alone."""
MOVED = "moved"
"""Method of an older mask that was only moved and scaled with its object's box: the frame had no time for more."""
NONE = "none"
"""Method of an object in which the segmenter found no mask."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame of a source.

    Attributes:
        image: Shape (height, width, 3), uint8, BGR.
        pts_ns: Presentation time in nanoseconds since the source's first frame.
        t_capture_ns: Monotonic clock when the frame was decoded.
        t_capture_unix_ns: Wall clock at the same moment.
        pixel_aspect: Width and height of a pixel as it is shown.
    """

    image: Image
    pts_ns: int
    t_capture_ns: int
    t_capture_unix_ns: int
    pixel_aspect: PixelAspect = SQUARE

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
    """An object found by a detector.

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
        mask: None if the model found none.
        predicted_iou: The model's own estimate of the mask's IoU, 0 to 1; None without one.
        stability: How little the mask changes with the threshold (0 to 1), if the model estimates it.
    """

    mask: Mask | None
    predicted_iou: float | None = None
    stability: float | None = None


class Timings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Milliseconds from a frame's capture to each later point; None if the frame did not pass it.

    Attributes:
        received: Publish received the frame, and copied its pixels if a sink or propagation needs them.
        detected: Its boxes were ready.
        encoded: The segmenter encoded its picture.
        decoded: The segmenter decoded its masks.
        rendered: The overlay was drawn; views without the overlay are sent before.
        published: Its message was ready to be sent.
    """

    received: float | None = None
    detected: float | None = None
    encoded: float | None = None
    decoded: float | None = None
    rendered: float | None = None
    published: float | None = None


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """Lost frames and masks by cause, counted since the run started: also over restarts of the stages that count them.

    `*_replaced`: frames replaced by a newer one while they waited for the stage. `*_overrun`: frames overwritten in
    shared memory before the stage read them. `masks_limited`: masks left out to keep messages within their size limit.
    """

    detect_replaced: int = 0
    segment_replaced: int = 0
    publish_replaced: int = 0
    detect_overrun: int = 0
    segment_overrun: int = 0
    publish_overrun: int = 0
    masks_limited: int = 0


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """The models that made a result.

    Attributes:
        detector: Its name.
        segmenter: Its name.
        notice: One line for people on what is wrong: why these are not the preferred models, that the machine is too
            slow for them, that a stage restarts; None if nothing is.
    """

    detector: str
    segmenter: str
    notice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedObject:
    """One object of a published frame.

    Attributes:
        detection: Box, class, confidence and track.
        mask: None if `method` is `PENDING` or `NONE`.
        method: `SEGMENTED`, `PROPAGATED`, `REFINED`, `MOVED`, `PENDING` or `NONE`.
        origin_seq: Sequence number of the frame on which the mask was made; None without a mask.
        age_ms: Milliseconds from that frame to this one.
        predicted_iou: Expected IoU of the mask with the true one, 0 to 1; None if unknown.
        stability: How little the mask changes with its threshold, 0 to 1; None if unknown.
        colour: In which it is drawn, as `#rrggbb`; None without one. Publish gives it.
    """

    detection: Detection
    mask: Mask | None = None
    method: str = PENDING
    origin_seq: int | None = None
    age_ms: float = 0.0
    predicted_iou: float | None = None
    stability: float | None = None
    colour: str | None = None

    def with_colour(self, colour: str) -> TrackedObject:
        """The same object in that colour: in half of the time of `dataclasses.replace`."""
        return TrackedObject(
            detection=self.detection,
            mask=self.mask,
            method=self.method,
            origin_seq=self.origin_seq,
            age_ms=self.age_ms,
            predicted_iou=self.predicted_iou,
            stability=self.stability,
            colour=colour,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultMessage:
    """A published frame with all its objects.

    Attributes:
        run_id: Identifies the run of the pipeline.
        epoch: Rises with each new frame size or capture process; `seq` continues across epochs.
        seq: Number of the frame, from 0; a gap means frames that were not published.
        source: Name of the source.
        width: Of the frame, in pixels.
        height: Of the frame, in pixels.
        pixel_aspect: Width and height of a pixel as it is shown.
        pts_ns: Presentation time since the source's first frame.
        t_capture_unix_ns: Wall clock when the frame was decoded.
        timings: When the frame passed each point.
        dropped: What was lost so far.
        models: The models that made it.
        boxes_seq: The frame on which the boxes were found; None before the first boxes.
        objects: In the order of the detector.
        mode: `live` or `every-frame`; empty if the publisher does not say.
        jpeg: The picture, if the subscribed view has one.
        gap: Frames missing before this one; set by the subscriber. They count from the previous result, and before
            the first one of a run from the newest heartbeat before it.
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
    pixel_aspect: PixelAspect = SQUARE
    mode: str = ""
    jpeg: bytes | None = None
    gap: int = 0


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a source or of a stage.

    Attributes:
        state: `running`, `restarting` or, for the source, `disconnected` or `failed`.
    """

    run_id: str
    source: str
    stage: str
    state: str
    detail: str = ""


STARTING = "starting"
"""State of a source before its first frame."""
RUNNING = "running"
"""State of a source that delivers frames, and of a stage."""
DISCONNECTED = "disconnected"
"""State of a camera that is lost; the pipeline tries to connect again."""
RESTARTING = "restarting"
"""State of a stage whose process is replaced, and of a source while its stage is."""
FAILED = "failed"
"""State of a source that failed for good, while others go on."""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """Sent each second while the pipeline runs, and to each new subscriber.

    Attributes:
        seq: The last published frame; None before the first.
        t_unix_ns: Wall clock of the heartbeat.
        state: Of the source: `starting`, `running`, `disconnected`, `restarting`; empty if unknown.
        detail: One line for people on that state; may be empty.
    """

    run_id: str
    source: str
    seq: int | None
    t_unix_ns: int
    state: str = ""
    detail: str = ""


SOURCE_REMOVED = "source removed"
"""Reason of the end of a source that is removed from a running pipeline, or changed: the run continues."""


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The run is over; `seq` is the last frame, None if there was none.

    Attributes:
        unreadable: About how many frames of a file could not be read.
        others_follow: Whether other sources start later, such as files that wait for others to end.
    """

    run_id: str
    source: str
    seq: int | None
    reason: str
    unreadable: int = 0
    others_follow: bool = False


Event = SourceState | Heartbeat | End
"""Every message that is not a result."""
Message = ResultMessage | Event
