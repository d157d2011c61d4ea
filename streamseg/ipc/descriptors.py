"""Messages on the links: small descriptors; pixels stay in the ring."""

from __future__ import annotations

import msgspec

from streamseg.ipc.ring import RingName
from streamseg.messages import SQUARE, Detection, PixelAspect


class FrameDescriptor(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Frame `seq` of `source` lies in `ring`.

    Attributes:
        t_capture_ns: Monotonic clock when the frame was decoded.
        pixel_aspect: Width and height of a pixel as it is shown.
        analysed: Whether detect gets it; publish does not wait for boxes of other frames.
        detect_replaced: Frames that a newer one replaced before detect received them.
        publish_replaced: The same for publish.
    """

    source: str
    seq: int
    ring: RingName
    width: int
    height: int
    pts_ns: int
    t_capture_ns: int
    t_capture_unix_ns: int
    pixel_aspect: PixelAspect = SQUARE
    analysed: bool = True
    detect_replaced: int = 0
    publish_replaced: int = 0

    @property
    def epoch(self) -> int:
        """The epoch of the ring."""
        return self.ring.epoch

    def age_ms(self, t_ns: int) -> float:
        """Milliseconds from the frame's capture to a time on the monotonic clock."""
        return (t_ns - self.t_capture_ns) / 1e6


class Keyframe(msgspec.Struct, frozen=True, kw_only=True):
    """A frame to segment, and the boxes to segment in it."""

    frame: FrameDescriptor
    detections: tuple[Detection, ...]


class Boxes(msgspec.Struct, frozen=True, kw_only=True):
    """The objects that detect found on frame `seq`.

    Attributes:
        keyframe: Whether segment gets this frame.
        t_detected_ns: Monotonic clock when the boxes were ready.
        overrun: Frames overwritten in shared memory before detect read them.
        segment_replaced: Keyframes that a newer one replaced before segment was ready.
        replaced: Frames that a newer one replaced while they waited for their turn in detect.
    """

    source: str
    seq: int
    detections: tuple[Detection, ...]
    keyframe: bool
    t_detected_ns: int
    overrun: int
    segment_replaced: int
    replaced: int = 0


class PackedKeyframeMask(msgspec.Struct, frozen=True, array_like=True):
    """A `KeyframeMask` of `streamseg.propagate` as it travels; what it lacks is empty.

    Attributes:
        rectangle: The mask's x, y, width and height; None if the segmenter found no mask.
        bits: As `Mask.pack` gives them.
        planes: Bytes of the template's planes; `columns` and `logits` are those of its appearance.
    """

    detection: Detection
    predicted_iou: float | None
    stability: float | None
    rectangle: tuple[int, int, int, int] | None
    bits: bytes
    planes: bytes
    columns: bytes
    logits: bytes


class Masks(msgspec.Struct, frozen=True, kw_only=True):
    """The masks of keyframe `seq`: of a file all of its objects, of a live source those that segment found time for.

    Attributes:
        pts_ns: The frame's presentation time.
        t_capture_ns: Monotonic clock when the frame was decoded.
        t_encoded_ns: Monotonic clock when the model finished encoding the picture.
        t_decoded_ns: Monotonic clock when the last mask was ready.
        overrun: Keyframes overwritten in shared memory before segment read them.
        replaced: Keyframes that a newer one replaced while they waited for their turn in segment.
    """

    source: str
    seq: int
    pts_ns: int
    objects: tuple[PackedKeyframeMask, ...]
    t_capture_ns: int
    t_encoded_ns: int
    t_decoded_ns: int
    overrun: int
    replaced: int = 0

    @property
    def detections(self) -> tuple[Detection, ...]:
        """The objects, in their order."""
        return tuple(packed.detection for packed in self.objects)


class FrameResult(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A published result for the recorder.

    Attributes:
        parts: The result in the wire format, without a picture; its pixels lie in shared memory.
        replaced: Results that a newer one replaced before record received them.
    """

    frame: FrameDescriptor
    parts: list[bytes]
    replaced: int


class EndOfStream(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Capture has no more frames; `seq` was the last, None if there was none.

    Attributes:
        unreadable: Frames of a file that could not be read.
    """

    source: str
    seq: int | None
    reason: str
    unreadable: int = 0
