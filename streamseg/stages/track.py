"""One object that the tracker follows from frame to frame."""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np

from streamseg.geometry import Box
from streamseg.messages import Detection
from streamseg.propagate.appearance import histogram_overlap
from streamseg.stages.evidence import ColourHistogram, Motion

_SLOWING_S = 0.5
"""Seconds in which the predicted speed of a missed object falls to a third: it may be stopping. Chosen by hand."""
_COLOURS_KEPT = 0.9
"""Share of the known colours in the mean with those of a new box. As in BoT-SORT (Aharon et al., 2022)."""
_VOTES_KEPT = 0.97
"""Weight of the votes so far after another one: the last 33 boxes count most, so a wrong beginning is outvoted. Chosen
by hand."""
_BOX_WEIGHT = 0.4
"""Weight of a detected box beside the one that flow has followed: for a frame, a box may span two objects that meet.
Chosen on one clip of three equal cups, where 0.6 and 1.0 swap two for good. Drawn scenes have 2 switches from 0.3 to
0.8, 3 at 0.2 and none at 1.0."""
SHORTEST_S: Final = 0.001
"""Seconds between two frames, at least."""


class Track(msgspec.Struct):
    """One object.

    Attributes:
        number: From 1 up; None while it is not confirmed.
        box: In the newest frame; predicted if it was missed there.
        velocity: Pixels a second, to the right and down.
        t_ns: Time of the newest frame.
        found_ns: Time of the last frame with a detection.
        colours: Mean histogram, float32.
        votes: Confidence of its detections, by class number and name; older ones count less.
        boxes: Number of its detections.
        followed: Whether flow has shown where it is in the newest frame.
    """

    number: int | None
    box: Box
    velocity: Motion
    t_ns: int
    found_ns: int
    colours: bytes
    votes: dict[tuple[int, str], float]
    boxes: int = 1
    followed: bool = False

    @classmethod
    def begin(cls, detection: Detection, colours: ColourHistogram, t_ns: int) -> Track:
        """A new track."""
        votes = {(detection.class_id, detection.class_name): detection.confidence}
        return cls(None, detection.xyxy, (0.0, 0.0), t_ns, t_ns, colours.tobytes(), votes)

    @property
    def elected(self) -> tuple[int, str]:
        """Number and name of the class with the most votes; the earliest of equals."""
        return max(self.votes, key=self.votes.__getitem__)

    @property
    def missed_s(self) -> float:
        """Seconds since the last detection."""
        return (self.t_ns - self.found_ns) / 1e9

    @property
    def histogram(self) -> ColourHistogram:
        """Its colours as an array."""
        return np.frombuffer(self.colours, np.float32)

    def likeness(self, colours: ColourHistogram) -> float:
        """Overlap with other colours, 0 to 1."""
        return histogram_overlap(self.histogram, colours)

    def predict(self, t_ns: int, motion: Motion | None) -> None:
        """Move to the next frame, by the motion that flow shows or at constant velocity."""
        seconds = max((t_ns - self.t_ns) / 1e9, SHORTEST_S)
        x, y = self.velocity
        if motion is not None:
            self.velocity = motion[0] / seconds, motion[1] / seconds
        elif self.missed_s > 0:
            slower = math.exp(-seconds / _SLOWING_S)
            self.velocity = x * slower, y * slower
        across, down = self.velocity[0] * seconds, self.velocity[1] * seconds
        left, top, right, bottom = self.box
        self.box = left + across, top + down, right + across, bottom + down
        self.t_ns, self.followed = t_ns, motion is not None

    def update(self, detection: Detection, colours: ColourHistogram | None, seconds: float) -> None:
        """Take a detection of the newest frame.

        Args:
            detection: The detection.
            colours: Of its box, if they are the object's own.
            seconds: Since the frame before.
        """
        if not self.followed:
            error_x, error_y = offset(self.box, detection.xyxy)
            x, y = self.velocity
            self.velocity = x + error_x / (2 * seconds), y + error_y / (2 * seconds)
        weight = _BOX_WEIGHT if self.followed else 1.0
        (left, top, right, bottom), found = self.box, detection.xyxy
        self.box = (
            left + weight * (found[0] - left),
            top + weight * (found[1] - top),
            right + weight * (found[2] - right),
            bottom + weight * (found[3] - bottom),
        )
        self._count(detection)
        if colours is not None:
            self.colours = (_COLOURS_KEPT * self.histogram + (1 - _COLOURS_KEPT) * colours).tobytes()

    def recover(self, detection: Detection) -> None:
        """Take the detection of an object that was lost and is elsewhere now."""
        self.velocity = 0.0, 0.0
        self.box = detection.xyxy
        self._count(detection)

    def _count(self, detection: Detection) -> None:
        self.found_ns = self.t_ns
        self.boxes += 1
        voted = detection.class_id, detection.class_name
        self.votes = {known: _VOTES_KEPT * votes for known, votes in self.votes.items()}
        self.votes[voted] = self.votes.get(voted, 0.0) + detection.confidence


def offset(one: Box, other: Box) -> Motion:
    """From the centre of one box to that of another."""
    return (other[0] + other[2] - one[0] - one[2]) / 2, (other[1] + other[3] - one[1] - one[3]) / 2
