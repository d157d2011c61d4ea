"""Which objects of a keyframe the segmenter decodes first, and whether it need decode any (live mode)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box, box_iou
from streamseg.ipc.descriptors import Keyframe
from streamseg.messages import Detection, Image, ObjectMask

_STILL_IOU = 0.9
"""IoU of an object's boxes above which it has not moved: detectors place edges no more precisely than that."""
_MOTION_STEP = 0.1
"""Objects whose box IoUs differ by less have moved equally far."""
_POOR = 0.6
"""A mask less certain than this is decoded again even if the object stands still."""
_THUMBNAIL = (64, 36)
"""Width and height in pixels at which pictures are compared."""
_UNCHANGED = 10
"""Grey levels by which pictures of a still scene may differ: sensors are noisy, and light flickers."""
_LEAST_NEED = 0.25
"""Need of a keyframe whose objects all have masks, in objects without one. Chosen by hand."""
_MIN_DECODING_NS = 20_000_000
"""Time for decoding in any case: some segmenters have no encoder to compare with."""


@dataclass(frozen=True, slots=True)
class _LastMask:
    """What is known about a track's newest mask.

    Attributes:
        box: Of the object on the mask's keyframe.
        t_ns: Capture time of that keyframe, on the monotonic clock.
        certainty: Estimated quality of the mask, 0 to 1.
    """

    box: Box
    t_ns: int
    certainty: float


class Priority:
    """Orders the objects of each keyframe: new ones, then the most moved, then those with the least certain mask."""

    def __init__(self, max_age_ms: float) -> None:
        """A mask is decoded again at half of `max_age_ms`, the age at which propagation drops it."""
        self._max_age_ns = int(max_age_ms * 1e6)
        self._last: dict[int, _LastMask] = {}
        self._thumbnail: NDArray[np.uint8] | None = None

    def order(self, keyframe: Keyframe, image: Image) -> list[int]:
        """Indices of the keyframe's detections in decoding order.

        Empty if the picture is unchanged and every object stands still with a certain and recent mask.
        """
        thumbnail = _thumbnail(image)
        still = self._thumbnail is not None and int(cv2.absdiff(thumbnail, self._thumbnail).max()) <= _UNCHANGED
        detections, now_ns = keyframe.detections, keyframe.frame.t_capture_ns
        if still and all(self._is_settled(detection, now_ns) for detection in detections):
            return []
        if detections:
            self._thumbnail = thumbnail
        return sorted(range(len(detections)), key=lambda index: self._urgency(detections[index]))

    def need(self, keyframe: Keyframe) -> float:
        """How many objects need a mask: those without a certain and recent one where they are; at least a little."""
        now_ns = keyframe.frame.t_capture_ns
        return max(float(sum(not self._is_settled(each, now_ns) for each in keyframe.detections)), _LEAST_NEED)

    def update(self, keyframe: Keyframe, detections: Sequence[Detection], masks: Sequence[ObjectMask]) -> None:
        """Note the masks that were decoded, and forget tracks without a mask for `max_age_ms`."""
        now_ns = keyframe.frame.t_capture_ns
        for detection, mask in zip(detections, masks, strict=True):
            if detection.tracker_id is not None:
                self._last[detection.tracker_id] = _LastMask(detection.xyxy, now_ns, certainty(mask, detection.xyxy))
        self._last = {track_id: last for track_id, last in self._last.items() if now_ns - last.t_ns <= self._max_age_ns}

    def _last_of(self, detection: Detection) -> _LastMask | None:
        return None if detection.tracker_id is None else self._last.get(detection.tracker_id)

    def _is_settled(self, detection: Detection, now_ns: int) -> bool:
        last = self._last_of(detection)
        if last is None or now_ns - last.t_ns > self._max_age_ns // 2:
            return False
        return last.certainty >= _POOR and box_iou(last.box, detection.xyxy) >= _STILL_IOU

    def _urgency(self, detection: Detection) -> tuple[bool, int, float]:
        """Sort key, the most urgent first."""
        last = self._last_of(detection)
        if last is None:
            return False, 0, 0.0
        return True, int(box_iou(last.box, detection.xyxy) / _MOTION_STEP), last.certainty


def certainty(mask: ObjectMask, box: Box) -> float:
    """Estimated quality of a mask: the least of predicted IoU, stability, and IoU with its box; 0 without a mask."""
    if mask.mask is None:
        return 0.0
    return min(
        1.0 if mask.predicted_iou is None else mask.predicted_iou,
        1.0 if mask.stability is None else mask.stability,
        box_iou(mask.mask.xyxy, box),
    )


def decoding_time_ns(encoding_ns: int) -> int:
    """Longest time for decoding a picture: half as long as encoding took, so that the next one is not late."""
    return max(encoding_ns // 2, _MIN_DECODING_NS)


def _thumbnail(image: Image) -> NDArray[np.uint8]:
    small = cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
