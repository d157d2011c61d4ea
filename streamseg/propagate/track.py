"""One object followed over frames: its position, and what is known of its mask."""

from __future__ import annotations

import bisect
from collections import deque
from dataclasses import dataclass, replace

import cv2
import numpy as np

from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Detection
from streamseg.propagate.appearance import colour_histogram, histogram_overlap
from streamseg.propagate.crop import FLOW_SIDE, Flow, ObjectCrop, resized, rewindowed, sampled, split
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask
from streamseg.propagate.motion import Path, Position, Predicted, Step, Unpredictable, moved
from streamseg.propagate.warp import WarpedMask
from streamseg.window import Plane, window_around

_LONGEST_HISTORY = 150
"""Frames whose detections are kept, for late masks: five seconds."""
_REFINEMENT_FRAMES = 10
"""Frames after which a refinement is dropped. Chosen by hand."""
_FRESH_FRAMES = 3
"""Frames for which a mask is as good as the segmenter made it. Chosen by hand."""
_RECOGNISED = 0.65
"""Overlap of colour histograms from which on an object is recognised. Its surroundings reached 0.56 at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What the next frame shows of an object.

    Attributes:
        crop: Around the object there.
        flow: From the crop before, shape (1, FLOW_SIDE, FLOW_SIDE, 2); None if there is none.
        mask: The object's mask warped to this crop, if it has one.
    """

    crop: ObjectCrop
    flow: Flow | None
    mask: WarpedMask | None

    def with_box(self, box: Box) -> Observation:
        """The same observation, for another box of the object."""
        return self if box == self.crop.box else replace(self, crop=self.crop.with_box(box))


@dataclass(frozen=True, slots=True, eq=False)
class PendingMask:
    """A late keyframe mask that has not reached the newest frame yet.

    Attributes:
        keyframe_mask: Where it comes from.
        mask: The mask on frame `seq`.
        seq: The frame to which it has been warped.
    """

    keyframe_mask: KeyframeMask
    mask: WarpedMask
    seq: int


@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """The refiner's result for an object, warped to the newest crop.

    Attributes:
        frame: The frame on which the refiner ran.
        colours: Of the object there: see `colour_histogram`.
        logits: Log-odds of each pixel of the newest crop, in the refiner's resolution.
        frames: Number of frames since.
    """

    frame: FrameTime
    colours: Plane
    logits: Plane
    frames: int = 0

    @property
    def share(self) -> Plane:
        """The object's share of each cell of flow: shape (FLOW_SIDE, FLOW_SIDE), 0 to 1."""
        return _share(self.logits, FLOW_SIDE)

    @classmethod
    def on(cls, frame: FrameTime, crop: ObjectCrop, logits: Plane) -> Refinement:
        """The result on the crop of that frame."""
        return cls(frame, colour_histogram(crop.picture, _share(logits, crop.side)), logits)

    def recognises(self, crop: ObjectCrop) -> bool:
        """Whether the pixels that it takes for the object still have the object's colours, in the newest crop."""
        now = colour_histogram(crop.picture, _share(self.logits, crop.side))
        return histogram_overlap(self.colours, now) > _RECOGNISED

    def warped(self, flow: Flow) -> Refinement:
        """The result one frame later."""
        side = self.logits.shape[0]
        x, y = split(resized(flow, side))
        return replace(self, logits=sampled([self.logits], x, y, side, cv2.BORDER_REPLICATE)[0], frames=self.frames + 1)


@dataclass(frozen=True, slots=True, eq=False)
class ShownMask:
    """The mask with which an object was published last, or a newer one of the segmenter that was not yet.

    Attributes:
        mask: In pixels of the frame.
        box: Of the object in that frame.
        frame: The frame on which the mask was made.
        stability: As in `ObjectMask`.
    """

    mask: Mask
    box: Box
    frame: FrameTime
    stability: float | None


class Track:
    """An object, from its first frame to its last. Only its own methods change it.

    Attributes:
        detection: The object in the newest frame; its box is predicted if the detector did not find it there.
        missed: Number of frames since the detector last found it.
        missed_answers: Number of detector results since then, all without it.
        propagated_seq: The last frame that propagated it, not only moved it; None before the first. What follows is of
            that frame.
        crop: In that frame; None while the object is outside of it.
        keyframe_mask: The newest one that has reached that frame.
        mask: The same, warped to the crop.
        pending: A newer one; until it has reached the newest frame, the one before counts.
        refinement: None unless the refiner ran lately.
        expected_iou: IoU that the mask is expected to have; 0 if it is not shown.
        shown: What moves with its box in frames that do not propagate it; None without a mask.
        path: Its motion.
    """

    def __init__(self, detection: Detection) -> None:
        self.detection = detection
        self.missed = 0
        self.missed_answers = 0
        self.propagated_seq: int | None = None
        self.crop: ObjectCrop | None = None
        self.keyframe_mask: KeyframeMask | None = None
        self.mask: WarpedMask | None = None
        self.pending: PendingMask | None = None
        self.refinement: Refinement | None = None
        self.expected_iou = 0.0
        self.shown: ShownMask | None = None
        self.path = Path()
        self._detections: deque[tuple[int, Detection]] = deque(maxlen=_LONGEST_HISTORY)
        self._numbers = {detection.tracker_id}

    @property
    def mask_frame(self) -> FrameTime | None:
        """The frame on which its mask was made; None without a mask."""
        if self.keyframe_mask is not None:
            return self.keyframe_mask.frame
        return None if self.refinement is None else self.refinement.frame

    @property
    def newest_keyframe_mask(self) -> KeyframeMask | None:
        """The newest one, pending or not."""
        return self.keyframe_mask if self.pending is None else self.pending.keyframe_mask

    @property
    def frames_since_refinement(self) -> int:
        """Number of frames since the refiner ran, as far as that counts."""
        return _REFINEMENT_FRAMES if self.refinement is None else self.refinement.frames

    @property
    def refinable(self) -> bool:
        """Whether refinement can help: it is visible, and has no keyframe mask or none that is still as good as new."""
        if self.crop is None:
            return False
        return self.keyframe_mask is None if self.mask is None else self.mask.frames >= _FRESH_FRAMES

    @property
    def refined_logits(self) -> Plane | None:
        """Log-odds of the newest crop by the refiner, while it is all there is: shape (side, side)."""
        if self.crop is None or self.keyframe_mask is not None or self.refinement is None:
            return None
        logits: Plane = resized([self.refinement.logits], self.crop.side)[0]
        return logits

    def detection_on(self, seq: int) -> Detection:
        """The detection of frame `seq`, or of the last one before; the newest if none is known."""
        place = bisect.bisect_right(self._detections, seq, key=lambda known: known[0])
        return self._detections[place - 1][1] if place else self.detection

    def had(self, number: int, seq: int) -> bool:
        """Whether that was its number on frame `seq`: see `detection_on`."""
        return number in self._numbers and self.detection_on(seq).tracker_id == number

    def predict(self, seq: int, detection: Detection, found_on: int) -> Predicted | Unpredictable:
        """Predict the position in frame `seq`, the next one, of a detection of frame `found_on`."""
        return Unpredictable(detection) if self.crop is None else self.path.predict(detection, found_on, seq)

    def mask_without_flow(self) -> WarpedMask | None:
        """The mask in the next frame, if no flow leads there."""
        return None if self.mask is None else self.mask.aged(self.mask.frames + 1)

    def mark_detected(self, number: int | None) -> None:
        """Note that the detector found the object for the next frame, under that number."""
        self.missed = self.missed_answers = 0
        self._numbers.add(number)

    def mark_missed(self, *, answered: bool) -> None:
        """Note that the next frame has no detection of the object; `answered` if the detector has a new result."""
        self.missed += 1
        self.missed_answers += answered

    def update(self, seq: int, position: Position, observation: Observation | None) -> None:
        """Advance to frame `seq`.

        Args:
            seq: The frame.
            position: The object's. If it is predicted, flow corrects it.
            observation: What the frame shows of it; None outside of the frame.
        """
        self.detection, self.propagated_seq = position.detection, seq
        if observation is None:
            self.mask, self.crop, self.refinement = self.mask_without_flow(), None, None
            return
        crop, flow, self.mask = observation.crop, observation.flow, observation.mask
        if self.refinement is not None and flow is not None:
            self.refinement = self.refinement.warped(flow) if self.refinement.frames < _REFINEMENT_FRAMES else None
        before, known = crop if self.crop is None else self.crop, self.mask or self.refinement
        step = Step(seq, before.window, crop.window, crop.visible, flow, None if known is None else known.share)
        self.path.append(step)
        self.crop = crop
        if isinstance(position, Predicted):
            (across, down), (predicted_across, predicted_down) = step.motion, position.motion
            missing = (across - predicted_across) * position.share, (down - predicted_down) * position.share
            self.detection = moved(position.detection, missing)
            self.crop = crop.with_box(self.detection.xyxy)
        self._detections.append((seq, self.detection))
        if self.missed:
            self._check_refinement(self.crop)

    def move(self, seq: int, position: Position) -> None:
        """Advance to frame `seq` by the position alone. The next `update` goes on from the last one."""
        self.detection = position.detection
        self._detections.append((seq, self.detection))

    def forget(self, seq: int) -> None:
        """Forget the motion and the detections that no mask of frame `seq` or a later one needs."""
        self.path.forget(seq if self.pending is None else min(seq, self.pending.seq))
        while len(self._detections) > 2 and self._detections[1][0] <= seq:
            self._detections.popleft()

    def add_keyframe_mask(self, made: KeyframeMask) -> None:
        """Take a newer keyframe mask, of the newest frame or of an older one: see `pending`."""
        self.shown = (
            None if made.mask is None else ShownMask(made.mask, made.detection.xyxy, made.frame, made.stability)
        )
        if made.template is None:
            self.keyframe_mask, self.mask, self.pending = made, None, None
            return
        window = self.path.window_on(made.frame.seq)
        box_window = None if self.crop is None else window_around(made.detection.xyxy, *self.crop.frame_size)
        mask = WarpedMask.on_keyframe(made.template, window, box_window)
        self.pending = PendingMask(made, mask, made.frame.seq)

    def advance_pending(self, seq: int, mask: WarpedMask) -> None:
        """Move the pending mask to frame `seq` of the path, where it is `mask`."""
        if self.pending is not None:
            self.path.share_on(seq, mask.share)
            self.pending = replace(self.pending, mask=mask, seq=seq)

    def adopt_pending(self, now: FrameTime) -> None:
        """Replace the mask by the pending one, which has reached the newest frame."""
        if self.pending is not None:
            made = self.pending.keyframe_mask
            # Frames without flow count too: only the box has been followed in them.
            self.keyframe_mask, self.mask = made, self.pending.mask.aged(now.seq - made.frame.seq)
            self.pending = None
            self.path.share_newest(self.mask.share)

    def correct(self, mask: WarpedMask | None, expected_iou: float, shown: Mask | None) -> None:
        """Set the mask as located in the newest crop, its expected IoU, 0 if it is not shown, and what is shown."""
        self.mask, self.expected_iou = mask, expected_iou
        made_on = self.mask_frame
        if shown is not None and made_on is not None:
            stability = None if self.keyframe_mask is None else self.keyframe_mask.stability
            self.shown = ShownMask(shown, self.detection.xyxy, made_on, stability)
        elif self.pending is None:
            self.shown = None

    def refine(self, frame: FrameTime, logits: Plane) -> None:
        """Take the refiner's log-odds of the square around its box in the newest frame."""
        if self.crop is None:
            return
        logits = rewindowed(self.crop.window, self.crop.box_window, logits, cv2.BORDER_REPLICATE)
        self.refinement = Refinement.on(frame, self.crop, logits)
        if self.mask is None:
            self.path.share_newest(self.refinement.share)

    def expire(self, oldest_ns: int) -> None:
        """Drop a mask that was made before that time. A refinement still counts."""
        made_on = self.mask_frame
        if made_on is not None and made_on.pts_ns < oldest_ns:
            self.keyframe_mask = self.mask = None
        if self.shown is not None and self.shown.frame.pts_ns < oldest_ns:
            self.shown = None

    def _check_refinement(self, crop: ObjectCrop) -> None:
        """Drop the refinement of a missed object that has nothing else, unless it still recognises the object."""
        if self.mask is None and self.refinement is not None and not self.refinement.recognises(crop):
            self.refinement = None
            self.path.share_newest(None)


def _share(logits: Plane, side: int) -> Plane:
    share: Plane = 1 / (1 + np.exp(-resized([logits], side)[0]))
    return share
