"""What is known of an object's mask: the segmenter's answers, and the small segmenter's opinion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from streamseg.propagate.appearance import frequent_colours, in_common
from streamseg.propagate.carried import Carried
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask
from streamseg.propagate.looks import Flow, Look
from streamseg.propagate.planes import FLOW_SIDE, resized, sample, split
from streamseg.window import Plane

_RECOGNISED = 0.65
"""Share of an object's colours that are still there some frames later, at least; those around it have at most 0.56 of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Coming:
    """An answer for an older frame on its way to the newest.

    Attributes:
        learnt: The answer.
        carried: Its mask.
        seq: The frame that it has come to.
    """

    learnt: KeyframeMask
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

    moment: FrameTime
    colours: Plane
    odds: Plane
    frames: int = 0

    @property
    def share(self) -> Plane:
        """How much of each cell of flow is about the object's: shape (FLOW_SIDE, FLOW_SIDE), 0 to 1."""
        return _share_of(self.odds, FLOW_SIDE)

    @classmethod
    def heard(cls, moment: FrameTime, seen: Look, odds: Plane) -> Opinion:
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
