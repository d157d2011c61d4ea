"""What is known of an object's mask: the segmenter's answers, and the small segmenter's opinion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from streamseg.messages import NONE, SEGMENTED, Detection, ObjectMask, TrackedObject
from streamseg.propagate.appearance import frequent_colours, in_common
from streamseg.propagate.carried import Carried
from streamseg.propagate.looks import Flow, Look
from streamseg.propagate.origin import Origin
from streamseg.propagate.planes import FLOW_SIDE, resized, sample, split
from streamseg.window import Plane

_RECOGNISED = 0.65
"""Share of an object's colours that are still there some frames later, at least; those around it have at most 0.56 of them."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Which frame: its number, and its time in nanoseconds since the source's first."""

    seq: int
    pts_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """The segmenter's answer for one object of a frame.

    Attributes:
        moment: Which frame.
        detection: The object on it.
        answer: Its mask there.
        origin: What is remembered of it there; None where there is no mask, or none that is to be carried.
    """

    moment: Moment
    detection: Detection
    answer: ObjectMask
    origin: Origin | None

    def as_object(self, detection: Detection) -> TrackedObject:
        """The object as it is published with that frame."""
        answer = self.answer
        return TrackedObject(
            detection=detection,
            mask=answer.mask,
            method=NONE if answer.mask is None else SEGMENTED,
            origin_seq=None if answer.mask is None else self.moment.seq,
            predicted_iou=answer.predicted_iou,
            stability=answer.stability,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Coming:
    """An answer for an older frame on its way to the newest.

    Attributes:
        learnt: The answer.
        carried: Its mask.
        seq: The frame that it has come to.
    """

    learnt: Learnt
    carried: Carried
    seq: int


@dataclass(frozen=True, slots=True, eq=False)
class Opinion:
    """What the small segmenter thinks of an object.

    Attributes:
        moment: On which frame.
        colours: Of the object there; see `frequent_colours`.
        odds: For each pixel of the object's newest square, in a resolution of its own, the logarithm of the odds that it is the object's.
        frames: How many frames ago that was.
    """

    moment: Moment
    colours: Plane
    odds: Plane
    frames: int = 0

    @property
    def share(self) -> Plane:
        """How much of each cell of flow is about the object's: shape (FLOW_SIDE, FLOW_SIDE), 0 to 1."""
        return _share_of(self.odds, FLOW_SIDE)

    @classmethod
    def heard(cls, moment: Moment, seen: Look, odds: Plane) -> Opinion:
        """About an object that is seen so in that frame."""
        return cls(moment, frequent_colours(seen.picture, _share_of(odds, seen.side)), odds)

    def recognises(self, seen: Look) -> bool:
        """Whether what it takes for the object still has the object's colours, in the look that its odds are about."""
        return in_common(self.colours, frequent_colours(seen.picture, _share_of(self.odds, seen.side))) > _RECOGNISED

    def moved(self, flow: Flow) -> Opinion:
        """The same a frame later, for the square to which that flow leads."""
        x, y = split(resized(flow, self.odds.shape[0]))
        (odds,) = sample([self.odds], x, y, self.odds.shape[0], cv2.BORDER_REPLICATE)
        return replace(self, odds=odds, frames=self.frames + 1)


def _share_of(odds: Plane, side: int) -> Plane:
    share: Plane = 1 / (1 + np.exp(-resized([odds], side)[0]))
    return share
