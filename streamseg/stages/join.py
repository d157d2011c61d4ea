"""The join: matches the frames of a source with their boxes and masks. Pure: no clock, no link."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from streamseg.ipc.descriptors import Boxes, FrameDescriptor, Masks
from streamseg.messages import Image

_KEPT_BOXES = 64
"""Boxes kept for frames that publish has not read yet. When publish is late, boxes of later frames arrive first."""


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """A frame and the monotonic time of its receipt; `image`, (height, width, 3) uint8, is None if it was not read."""

    descriptor: FrameDescriptor
    image: Image | None
    t_received_ns: int


@dataclass(frozen=True, slots=True)
class JoinedFrame:
    """A frame with the newest boxes and masks at the time of its publishing."""

    received: ReceivedFrame
    boxes: Boxes | None
    masks: Masks | None


class NewestJoin:
    """For live sources: a frame waits for its boxes, but no longer than until the next frame arrives.

    A frame that detect does not get waits for nothing. It never gets boxes of a later frame, even if those have arrived
    already.
    """

    def __init__(self, max_age_ms: float, last_seq: int) -> None:
        """Start after frame `last_seq`; boxes older than `max_age_ms` are stale and not used."""
        self._max_age_ns = int(max_age_ms * 1e6)
        self._last_seq = last_seq
        self._held: ReceivedFrame | None = None
        self._due: ReceivedFrame | None = None
        self._boxes: deque[Boxes] = deque(maxlen=_KEPT_BOXES)
        self._masks: Masks | None = None

    def needs(self, descriptor: FrameDescriptor) -> bool:
        """Whether the frame is still to be published."""
        return descriptor.seq > self._last_seq

    def add_frame(self, frame: ReceivedFrame) -> None:
        """Add a frame; the frame held until now is due."""
        self._due, self._held = self._held, frame

    def add_boxes(self, boxes: Boxes) -> None:
        """Add the newest boxes."""
        self._boxes.append(boxes)

    def add_masks(self, masks: Masks) -> None:
        """Add the newest masks."""
        self._masks = masks

    @property
    def waiting(self) -> ReceivedFrame | None:
        """The frame that waits for its boxes, if it is the next to be published and the newest boxes are not stale."""
        if self._due is not None or self._held is None or self._boxes_for(self._held) is None:
            return None
        return self._held

    def flush(self) -> None:
        """Make the held frame due, because no other one follows."""
        self._due, self._held = self._due or self._held, None

    def take(self) -> JoinedFrame | None:
        """The next frame to publish, or None while it waits."""
        frame = self._due
        self._due = None
        if frame is None and self._held is not None and self._is_ready(self._held.descriptor):
            frame, self._held = self._held, None
        if frame is None:
            return None
        self._last_seq = frame.descriptor.seq
        boxes = self._boxes_for(frame)
        return JoinedFrame(frame, boxes, None if boxes is None else self._masks)

    def _is_ready(self, frame: FrameDescriptor) -> bool:
        """Whether no boxes of the frame are awaited any more."""
        return not frame.analysed or bool(self._boxes and self._boxes[-1].seq >= frame.seq)

    def _boxes_for(self, frame: ReceivedFrame) -> Boxes | None:
        """The newest boxes of this frame or an earlier one, unless they are stale."""
        boxes = next((each for each in reversed(self._boxes) if each.seq <= frame.descriptor.seq), None)
        if boxes is None or frame.descriptor.t_capture_ns - boxes.t_detected_ns > self._max_age_ns:
            return None
        return boxes


@dataclass
class _Slot:
    frame: ReceivedFrame | None = None
    boxes: Boxes | None = None
    masks: Masks | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is missing. A new detect process may find other objects: masks must match the boxes."""
        if self.frame is None or self.boxes is None:
            return False
        return not self.boxes.keyframe or (self.masks is not None and self.masks.detections == self.boxes.detections)


@dataclass
class OrderedJoin:
    """For files: every frame in order, with the boxes and masks of that very frame. Repeated messages change nothing.

    Attributes:
        last_seq: The frame taken last.
    """

    last_seq: int
    _slots: dict[int, _Slot] = field(default_factory=dict)

    def needs(self, descriptor: FrameDescriptor) -> bool:
        """Whether the frame is still to be published, and has not arrived yet, or only in a ring that is gone."""
        frame = self._slots.get(descriptor.seq, _Slot()).frame
        return descriptor.seq > self.last_seq and (frame is None or frame.descriptor.ring != descriptor.ring)

    def add_frame(self, frame: ReceivedFrame) -> None:
        """Add a frame."""
        self._slot(frame.descriptor.seq).frame = frame

    def add_boxes(self, boxes: Boxes) -> None:
        """Add the boxes of a frame."""
        slot = self._slot(boxes.seq)
        if not slot.complete:
            slot.boxes = boxes

    def add_masks(self, masks: Masks) -> None:
        """Add the masks of a keyframe."""
        slot = self._slot(masks.seq)
        if not slot.complete:
            slot.masks = masks

    def take(self) -> JoinedFrame | None:
        """The next frame to publish, or None while its boxes or masks are missing."""
        slot = self._slots.get(self.last_seq + 1)
        if slot is None or slot.frame is None or slot.boxes is None or not slot.complete:
            return None
        self.last_seq += 1
        del self._slots[self.last_seq]
        return JoinedFrame(slot.frame, slot.boxes, slot.masks if slot.boxes.keyframe else None)

    def _slot(self, seq: int) -> _Slot:
        if seq <= self.last_seq:
            return _Slot()
        return self._slots.setdefault(seq, _Slot())
