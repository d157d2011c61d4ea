"""Which objects the segmenter draws next, and whether it need draw any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamseg.geometry import Box, box_iou
from streamseg.messages import Detection, ObjectMask

_STILL = 0.9
"""IoU of an object's boxes above which it has not moved: detectors' edges are no surer than that."""
_STEP = 0.1
"""Objects whose boxes' IoU differ by less have moved alike."""
_POOR = 0.6
"""Certainty of a mask below which it is drawn again, though nothing has moved."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What the segmenter said last of a track.

    Attributes:
        box: Of the object then.
        t_ns: When that frame was captured, on the monotonic clock.
        certainty: How good the mask is by all that is known of it, 0 to 1.
    """

    box: Box
    t_ns: int
    certainty: float


def next_objects(
    detections: Sequence[Detection], answered: Mapping[int, Answered], *, now_ns: int, reconfirm_ns: int, still: bool
) -> list[int]:
    """In which order objects are to be drawn: new ones first, then those that have moved most, then the least certain.

    Args:
        detections: Of the frame.
        answered: What was said last, by track.
        now_ns: When the frame was captured.
        reconfirm_ns: Age after which a mask is drawn again though nothing has moved.
        still: Whether the picture is that of the last answers.

    Returns:
        Places in `detections`; none where every object stands still in a still picture, is certain, and was drawn lately.
    """
    last = [None if detection.tracker_id is None else answered.get(detection.tracker_id) for detection in detections]

    def settled(place: int) -> bool:
        known = last[place]
        if known is None or not still or now_ns - known.t_ns > reconfirm_ns:
            return False
        return known.certainty >= _POOR and box_iou(known.box, detections[place].xyxy) >= _STILL

    def urgency(place: int) -> tuple[bool, int, float]:
        known = last[place]
        if known is None:
            return False, 0, 0.0
        return True, int(box_iou(known.box, detections[place].xyxy) / _STEP), known.certainty

    places = range(len(detections))
    return [] if all(map(settled, places)) else sorted(places, key=urgency)


def certainty(answer: ObjectMask, box: Box) -> float:
    """How good a mask is by the least of what is known of it: predicted IoU, stability, and how it agrees with its box; 0 without one."""
    if answer.mask is None:
        return 0.0
    return min(
        1.0 if answer.predicted_iou is None else answer.predicted_iou,
        1.0 if answer.stability is None else answer.stability,
        box_iou(answer.mask.xyxy, box),
    )
