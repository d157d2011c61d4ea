"""Scores the numbers that a tracker gave: identity switches, fragments and IDF1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from scipy.optimize import linear_sum_assignment

from streamseg.geometry import Box, box_iou

_SAME_IOU = 0.5
"""IoU from which on a box is that of a true object, as in CLEAR MOT and IDF1."""

TrueBoxes = Mapping[str, Box]
"""The boxes of the true objects of a frame, by the object's name."""
NumberedBoxes = Mapping[int, Box]
"""The boxes of the tracks of a frame, by the track's number."""


class TrackScore(msgspec.Struct, frozen=True, kw_only=True):
    """How well tracks follow true objects.

    Attributes:
        numbers: The numbers of each object, and in how many frames it had them; the most frequent first.
        shared: Numbers that were on several objects.
        switches: How often an object had another number than before (CLEAR MOT).
        fragments: How often an object was without a number between frames with one (CLEAR MOT).
        idf1: Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", 2016.
    """

    numbers: dict[str, dict[int, int]]
    shared: list[int]
    switches: int
    fragments: int
    idf1: float


class Scorer:
    """Collects frame by frame."""

    def __init__(self, *, complete: bool) -> None:
        """With `complete`, tracks that are on no true object count against IDF1; else the truth lacks some objects."""
        self._complete = complete
        self._numbers: dict[str, Counter[int]] = {}
        self._last: dict[str, int] = {}
        self._missed: set[str] = set()
        self._switches = self._fragments = 0
        self._true_frames: Counter[str] = Counter()
        self._track_frames: Counter[int] = Counter()
        self._together: Counter[tuple[str, int]] = Counter()

    def add(self, truth: TrueBoxes, tracks: NumberedBoxes) -> None:
        """Add a frame."""
        ious = {(name, number): box_iou(true, box) for name, true in truth.items() for number, box in tracks.items()}
        found = {pair: iou for pair, iou in ious.items() if iou >= _SAME_IOU}
        pairs = self._pairs(list(truth), list(tracks), found)
        self._true_frames.update(truth.keys())
        self._track_frames.update(tracks.keys() if self._complete else pairs.values())
        self._together.update(found.keys())
        for name in truth:
            if name in pairs:
                self._note(name, pairs[name])
            elif name in self._last:
                self._missed.add(name)

    def score(self) -> TrackScore:
        """The score of all frames so far."""
        names, numbers = list(self._true_frames), list(self._track_frames)
        together = np.array([[self._together[name, number] for number in numbers] for name in names])
        agreed = together[linear_sum_assignment(together, maximize=True)].sum() if together.size else 0
        boxes = self._true_frames.total() + self._track_frames.total()
        owners = Counter(number for given in self._numbers.values() for number in given)
        return TrackScore(
            numbers={name: dict(given.most_common()) for name, given in self._numbers.items()},
            shared=sorted(number for number, objects in owners.items() if objects > 1),
            switches=self._switches,
            fragments=self._fragments,
            idf1=2 * float(agreed) / boxes if boxes else 1.0,
        )

    def _pairs(
        self, names: Sequence[str], numbers: Sequence[int], found: Mapping[tuple[str, int], float]
    ) -> dict[str, int]:
        """The number of each object in the frame: the one before if it is there, else that of the best box."""
        if not found:
            return {}
        gain = np.array(
            [[_gain(found.get((name, number)), self._last.get(name) == number) for number in numbers] for name in names]
        )
        rows, columns = linear_sum_assignment(gain, maximize=True)
        pairs = ((names[row], numbers[column]) for row, column in zip(rows, columns, strict=True))
        return {name: number for name, number in pairs if (name, number) in found}

    def _note(self, name: str, number: int) -> None:
        self._switches += self._last.get(name, number) != number
        self._fragments += name in self._missed
        self._missed.discard(name)
        self._last[name] = number
        self._numbers.setdefault(name, Counter())[number] += 1


def _gain(iou: float | None, same: bool) -> float:
    return 0.0 if iou is None else iou + same
