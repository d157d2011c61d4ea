"""What the segmenter remembers of its own last answers, so as to draw first what needs it most (live sources)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.ipc.descriptors import Keyframe
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.stages.next_objects import Answered, certainty, next_objects

_THUMBNAIL = (64, 36)
"""Width and height in which pictures are compared."""
_UNCHANGED = 10
"""Levels of grey by which pictures of a still scene may differ: sensors are noisy, and light flickers."""
_LEAST_DECODING_NS = 20_000_000
"""Time that drawing may take in any case: some segmenters read no picture beforehand."""


class Attention:
    """Chooses among the objects of keyframes."""

    def __init__(self, max_age_ms: float) -> None:
        """Have every object drawn anew at half the age at which its mask is given up."""
        self._max_age_ns = int(max_age_ms * 1e6)
        self._answered: dict[int, Answered] = {}
        self._thumbnail: NDArray[np.uint8] | None = None

    def choose(self, keyframe: Keyframe, image: Image) -> list[int]:
        """In which order the keyframe's detections are to be drawn; none where nothing is to be done."""
        thumbnail = _thumbnail(image)
        still = self._thumbnail is not None and int(cv2.absdiff(thumbnail, self._thumbnail).max()) <= _UNCHANGED
        chosen = next_objects(
            keyframe.detections,
            self._answered,
            now_ns=keyframe.frame.t_capture_ns,
            reconfirm_ns=self._max_age_ns // 2,
            still=still,
        )
        if chosen:
            self._thumbnail = thumbnail
        return chosen

    def learn(self, keyframe: Keyframe, detections: Sequence[Detection], answers: Sequence[ObjectMask]) -> None:
        """Remember what was answered, and forget tracks of which nothing has been heard for long."""
        t_ns = keyframe.frame.t_capture_ns
        for detection, answer in zip(detections, answers, strict=True):
            if detection.tracker_id is not None:
                self._answered[detection.tracker_id] = Answered(detection.xyxy, t_ns, certainty(answer, detection.xyxy))
        self._answered = {
            number: known for number, known in self._answered.items() if t_ns - known.t_ns <= self._max_age_ns
        }


def time_for_decoding_ns(encoding_ns: int) -> int:
    """How long masks are drawn at most after a picture has been read: half as long as that took, so that the next one is not late."""
    return max(encoding_ns // 2, _LEAST_DECODING_NS)


def _thumbnail(image: Image) -> NDArray[np.uint8]:
    small = cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
