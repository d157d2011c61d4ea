"""What travels over the links: small descriptors; pixels stay in the ring."""

from __future__ import annotations

import msgspec

from streamseg.ipc.ring import RingName
from streamseg.masks import Mask
from streamseg.messages import Detection, ObjectMask


class FrameDescriptor(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Frame `seq` lies in `ring`.

    Attributes:
        t_capture_ns: Monotonic clock when the frame was decoded.
        detect_replaced: How many frames detect never got because a newer one took their place.
        publish_replaced: The same for publish.
    """

    seq: int
    ring: RingName
    width: int
    height: int
    pts_ns: int
    t_capture_ns: int
    t_capture_unix_ns: int
    detect_replaced: int = 0
    publish_replaced: int = 0

    @property
    def epoch(self) -> int:
        """The epoch of the ring."""
        return self.ring.epoch


class Keyframe(msgspec.Struct, frozen=True, kw_only=True):
    """A frame to segment, and the boxes to segment in it."""

    frame: FrameDescriptor
    detections: tuple[Detection, ...]


class Boxes(msgspec.Struct, frozen=True, kw_only=True):
    """Detect's answer for frame `seq`.

    Attributes:
        keyframe: Whether segment was asked for this frame's masks.
        t_detected_ns: Monotonic clock when the boxes were ready.
        tracker_state: The tracker after this frame, for a detect process that takes over; opaque to everyone else.
        overrun: How many frames left shared memory before detect had read them.
        segment_replaced: How many keyframes a newer one replaced before segment was ready.
    """

    seq: int
    detections: tuple[Detection, ...]
    keyframe: bool
    t_detected_ns: int
    tracker_state: bytes
    overrun: int
    segment_replaced: int


class PackedMask(msgspec.Struct, frozen=True, array_like=True):
    """A mask's rectangle and its bits as `Mask.pack` gives them."""

    x: int
    y: int
    width: int
    height: int
    packed: bytes


class PackedOrigin(msgspec.Struct, frozen=True, array_like=True):
    """What masks are carried from, as bytes; see `streamseg.propagate.origin`."""

    planes: bytes
    columns: bytes
    odds: bytes


class PackedObjectMask(msgspec.Struct, frozen=True, array_like=True):
    """An `ObjectMask` as it travels, and what it is carried from."""

    mask: PackedMask | None
    method: str
    predicted_iou: float | None
    stability: float | None
    origin: PackedOrigin | None = None


class Masks(msgspec.Struct, frozen=True, kw_only=True):
    """Segment's answer for frame `seq`: one object mask for each of the detections it has answered, which for a file are all.

    Attributes:
        pts_ns: The frame's presentation time.
        t_encoded_ns: When the picture had been read by the model.
        t_decoded_ns: When the last mask was ready.
        overrun: How many frames left shared memory before segment had read them.
    """

    seq: int
    pts_ns: int
    detections: tuple[Detection, ...]
    objects: tuple[PackedObjectMask, ...]
    t_encoded_ns: int
    t_decoded_ns: int
    overrun: int


class EndOfStream(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Capture has no more frames; `seq` was the last, None where there was none."""

    seq: int | None
    reason: str


def pack_object_mask(answer: ObjectMask, origin: PackedOrigin | None = None) -> PackedObjectMask:
    """Make an answer ready for a link."""
    mask = answer.mask
    packed = None if mask is None else PackedMask(mask.x, mask.y, mask.width, mask.height, mask.pack())
    return PackedObjectMask(packed, answer.method, answer.predicted_iou, answer.stability, origin)


def unpack_object_mask(packed: PackedObjectMask) -> ObjectMask:
    """The inverse of `pack_object_mask`."""
    box = packed.mask
    mask = None if box is None else Mask.unpack(box.x, box.y, box.width, box.height, box.packed)
    return ObjectMask(mask, packed.method, packed.predicted_iou, packed.stability)
