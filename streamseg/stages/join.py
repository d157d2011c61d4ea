"""The join: puts together what capture, detect and segment have said of a frame (pure: messages in, objects out)."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamseg.config import PropagateSettings
from streamseg.ipc.descriptors import Boxes, FrameDescriptor, Masks, unpack_object_mask
from streamseg.messages import NONE, PROPAGATED, Detection, Image, ObjectMask, TrackedObject, box_iou
from streamseg.propagate import carry

_SAME_OBJECT_IOU = 0.5


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """A frame that publish has: its descriptor, its pixels (height, width, 3) where somebody wants to see them, and since when."""

    descriptor: FrameDescriptor
    image: Image | None
    t_received_ns: int


@dataclass(frozen=True, slots=True)
class JoinedFrame:
    """A frame with the boxes and masks that it is published with."""

    frame: ReceivedFrame
    boxes: Boxes | None
    masks: Masks | None
    objects: tuple[TrackedObject, ...]


@dataclass(frozen=True, slots=True)
class _Origin:
    """A mask where it was made."""

    seq: int
    pts_ns: int
    detection: Detection
    answer: ObjectMask


class MaskMemory:
    """The segmenter's latest answer for each track."""

    def __init__(self, settings: PropagateSettings) -> None:
        self._settings = settings
        self._origins: dict[int, _Origin] = {}
        self._unnumbered: list[_Origin] = []
        self._learned_seq = -1

    def learn(self, masks: Masks) -> None:
        """Remember the answers for a frame and forget those that have become too old to be carried."""
        if masks.seq < self._learned_seq:
            return
        self._learned_seq = masks.seq
        origins = _origins(masks)
        self._unnumbered = [origin for origin in origins if origin.detection.tracker_id is None]
        self._origins |= {origin.detection.tracker_id: origin for origin in origins if origin.detection.tracker_id is not None}
        oldest_ns = masks.pts_ns - self._settings.max_age_ms * 1e6
        self._origins = {number: origin for number, origin in self._origins.items() if origin.pts_ns >= oldest_ns}

    def objects(self, frame: FrameDescriptor, boxes: Boxes, masks: Masks | None) -> tuple[TrackedObject, ...]:
        """The frame's objects: with the masks of the boxes' own frame where there are any, else with carried ones."""
        if masks is not None and masks.seq == boxes.seq and masks.detections == boxes.detections:
            answers: list[_Origin | None] = [*_origins(masks)]
        else:
            answers = [self._recall(detection) for detection in boxes.detections]
        return tuple(self._place(frame, detection, origin) for detection, origin in zip(boxes.detections, answers, strict=True))

    def too_old(self, age_ns: int) -> bool:
        """Whether something of that age is better not shown any more."""
        return age_ns > self._settings.max_age_ms * 1e6

    def _recall(self, detection: Detection) -> _Origin | None:
        """The answer for the detection's track; for a track that had no number yet, the one whose box it still overlaps most."""
        if detection.tracker_id in self._origins:
            return self._origins[detection.tracker_id]
        same_class = [origin for origin in self._unnumbered if origin.detection.class_id == detection.class_id]
        nearest = max(same_class, key=lambda origin: box_iou(origin.detection.xyxy, detection.xyxy), default=None)
        if nearest is None or box_iou(nearest.detection.xyxy, detection.xyxy) < _SAME_OBJECT_IOU:
            return None
        return nearest

    def _place(self, frame: FrameDescriptor, detection: Detection, origin: _Origin | None) -> TrackedObject:
        if origin is None:
            return TrackedObject(detection=detection)
        if origin.answer.mask is None:
            return TrackedObject(detection=detection, method=NONE)
        age_ms = (frame.pts_ns - origin.pts_ns) / 1e6
        if origin.seq == frame.seq:
            return _tracked(detection, origin, origin.answer, 0.0)
        if not self._settings.enabled or age_ms > self._settings.max_age_ms:
            return TrackedObject(detection=detection)
        mask = carry(origin.answer.mask, origin.detection.xyxy, detection.xyxy, frame.width, frame.height)
        if mask is None:
            return TrackedObject(detection=detection)
        answer = ObjectMask(mask, PROPAGATED, origin.answer.predicted_iou, origin.answer.stability)
        return _tracked(detection, origin, answer, max(0.0, age_ms))


def _origins(masks: Masks) -> list[_Origin]:
    pairs = zip(masks.detections, masks.objects, strict=True)
    return [_Origin(masks.seq, masks.pts_ns, detection, unpack_object_mask(packed)) for detection, packed in pairs]


def _tracked(detection: Detection, origin: _Origin, answer: ObjectMask, age_ms: float) -> TrackedObject:
    return TrackedObject(
        detection=detection,
        mask=answer.mask,
        method=answer.method,
        origin_seq=origin.seq,
        age_ms=age_ms,
        predicted_iou=answer.predicted_iou,
        stability=answer.stability,
    )


class NewestJoin:
    """For live sources: a frame waits for its boxes, but never longer than until the next frame is here."""

    def __init__(self, memory: MaskMemory, last_seq: int) -> None:
        self._memory = memory
        self._last_seq = last_seq
        self._held: ReceivedFrame | None = None
        self._due: ReceivedFrame | None = None
        self._boxes: Boxes | None = None
        self._masks: Masks | None = None

    def wants(self, descriptor: FrameDescriptor) -> bool:
        """Whether the frame has not been published yet."""
        return descriptor.seq > self._last_seq

    def add_frame(self, frame: ReceivedFrame) -> None:
        """Take in a frame; the one held until now becomes due."""
        self._due, self._held = self._held, frame

    def add_boxes(self, boxes: Boxes) -> None:
        """Take in detect's newest answer."""
        self._boxes = boxes

    def add_masks(self, masks: Masks) -> None:
        """Take in segment's newest answer."""
        self._masks = masks
        self._memory.learn(masks)

    def flush(self) -> None:
        """No frame follows: the held one is due."""
        self._due, self._held = self._due or self._held, None

    def take(self) -> JoinedFrame | None:
        """The next frame to publish, or None where it still waits."""
        frame = self._due
        self._due = None
        if frame is None and self._held is not None and self._boxes is not None and self._boxes.seq >= self._held.descriptor.seq:
            frame, self._held = self._held, None
        if frame is None:
            return None
        self._last_seq = frame.descriptor.seq
        if self._boxes is None or self._memory.too_old(frame.descriptor.t_capture_ns - self._boxes.t_detected_ns):
            return JoinedFrame(frame, None, None, ())
        objects = self._memory.objects(frame.descriptor, self._boxes, self._masks)
        return JoinedFrame(frame, self._boxes, self._masks, objects)


@dataclass
class _Slot:
    frame: ReceivedFrame | None = None
    boxes: Boxes | None = None
    masks: Masks | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is missing. A detect process that takes over may see other objects: masks count for the boxes they belong to."""
        if self.frame is None or self.boxes is None:
            return False
        return not self.boxes.keyframe or (self.masks is not None and self.masks.detections == self.boxes.detections)


@dataclass
class OrderedJoin:
    """For files: every frame, in order, each with the answers to that very frame. Repeated messages change nothing."""

    memory: MaskMemory
    last_seq: int
    _slots: dict[int, _Slot] = field(default_factory=dict)

    def wants(self, descriptor: FrameDescriptor) -> bool:
        """Whether the frame is neither published nor here already."""
        return descriptor.seq > self.last_seq and self._slots.get(descriptor.seq, _Slot()).frame is None

    def add_frame(self, frame: ReceivedFrame) -> None:
        """Take in a frame."""
        self._slot(frame.descriptor.seq).frame = frame

    def add_boxes(self, boxes: Boxes) -> None:
        """Take in detect's answer."""
        slot = self._slot(boxes.seq)
        if not slot.complete:
            slot.boxes = boxes

    def add_masks(self, masks: Masks) -> None:
        """Take in segment's answer."""
        if masks.seq <= self.last_seq:
            self.memory.learn(masks)
            return
        slot = self._slot(masks.seq)
        if not slot.complete:
            slot.masks = masks

    def take(self) -> JoinedFrame | None:
        """The next frame to publish, or None while an answer is missing."""
        slot = self._slots.get(self.last_seq + 1)
        if slot is None or slot.frame is None or slot.boxes is None or not slot.complete:
            return None
        masks = slot.masks if slot.boxes.keyframe else None
        self.last_seq += 1
        del self._slots[self.last_seq]
        if masks is not None:
            self.memory.learn(masks)
        objects = self.memory.objects(slot.frame.descriptor, slot.boxes, masks)
        return JoinedFrame(slot.frame, slot.boxes, masks, objects)

    def _slot(self, seq: int) -> _Slot:
        if seq <= self.last_seq:
            return _Slot()
        return self._slots.setdefault(seq, _Slot())
