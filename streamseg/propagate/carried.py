"""One mask on its way: where each of its pixels comes from, and what is drawn from that on a newer frame."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import cv2
import numpy as np

from streamseg.masks import Mask
from streamseg.propagate.looks import FLOW_SIDE, Flow, Look
from streamseg.propagate.origin import Origin
from streamseg.propagate.planes import blurred, sample, thinned
from streamseg.window import Plane, paste

_FLOW_REACH = FLOW_SIDE * 3 / 64
"""Over how many cells the flow of the object's own pixels is averaged (standard deviation)."""
_BLUR, _BLUR_A_FRAME, _BLUR_MOST = 0.5 / 128, 0.35 / 128, 3 / 128
"""Uncertainty of an outline: at first, more with each frame, and at most; standard deviation in sides of the square."""
_BLUR_OPEN = 2 / 128
"""From which uncertainty on colours have their full weight."""
_COLOUR = 3.0
"""That weight, beside the odds by the outline."""
_DRIFTED = 0.15
"""By how much the origin's place must fit better, as a share of how well the carried one does, to take its place."""
_HALF_LIFE = 20.0
"""Frames after which the outline that flow has carried counts half."""
_REST, _REST_FRAMES = 0.9, 10.0
"""Weight of the outline as it was at the origin, and after how many frames: the box has been followed better than any pixel."""
_REST_BLUR = 6 / 128
"""Its uncertainty, in sides of the square."""
_DOUBT = 0.01
"""Share of any outline that may be wrong, which bounds what it proves."""
_ISLAND = 0.03
"""Share of the largest part below which a part is dropped."""
_BOX_TOLERANCE = 0.03
"""How far outside its box an object may reach, in the box's sides, before that counts against it."""
_BOX_SPREAD = 0.03
_BOX_WEIGHT = 5.0
_BOX_MOST = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """A mask that has come some way.

    Attributes:
        origin: Where it comes from.
        small: The origin's share in the resolution of flow: shape (FLOW_SIDE, FLOW_SIDE), 0 to 1.
        rest: Odds by the outline as it was at the origin, in the same shape.
        displacement: For each place of the newest square, how far away its pixel was in the origin's: as `Flow`.
        frames: How many steps it has come.
    """

    origin: Origin
    small: Plane
    rest: Plane
    displacement: Flow
    frames: int

    @classmethod
    def starting(cls, origin: Origin) -> Carried:
        """At the origin itself."""
        size = (FLOW_SIDE, FLOW_SIDE)
        small = np.asarray(cv2.resize(origin.share, size, interpolation=cv2.INTER_AREA), np.float32)
        rest = _odds(np.asarray(cv2.GaussianBlur(small, (0, 0), _REST_BLUR * FLOW_SIDE), np.float32))
        return cls(origin, small, rest, np.zeros((*size, 2), np.float32), 0)

    def share_after(self, flow: Flow) -> Plane:
        """How much of each cell is about the object's after a further step: shape (FLOW_SIDE, FLOW_SIDE), 0 to 1."""
        return sample(self.small, self.displacement + flow)

    def along(self, flow: Flow) -> Carried:
        """One step further, by the flow between the newest square so far and the next."""
        return Carried(self.origin, self.small, self.rest, sample(self.displacement, flow) + flow, self.frames + 1)

    def aged(self, frames: int) -> Carried:
        """The same, come at least so many steps."""
        return self if frames <= self.frames else replace(self, frames=frames)

    def checked(self, evidence: Plane) -> Carried:
        """The same, or back at the origin's place in its square where that fits what colours say clearly better: flow has drifted."""
        told = thinned(evidence)
        carried = float((told * (2 * sample(self.small, self.displacement) - 1)).sum())
        resting = float((told * (2 * self.small - 1)).sum())
        if resting - carried <= _DRIFTED * abs(carried):
            return self
        return replace(self, displacement=np.zeros_like(self.displacement))

    def odds(self, seen: Look, evidence: Plane) -> Plane:
        """For each pixel of a look at the object, the logarithm of the odds that it is the object's: shape (side, side).

        Args:
            seen: The newest look.
            evidence: What the origin's colours say of it.
        """
        side = seen.side
        displacement = np.asarray(cv2.resize(self.displacement, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
        uncertainty = min(_BLUR + _BLUR_A_FRAME * self.frames, _BLUR_MOST)
        outline = _odds(blurred(sample(self.origin.share, displacement), uncertainty * side))
        colour = evidence * sample(self.origin.trust, displacement, cv2.BORDER_REPLICATE)
        rest = np.asarray(cv2.resize(self.rest, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
        odds: Plane = outline * np.float32(_HALF_LIFE / (_HALF_LIFE + self.frames))
        odds += colour * np.float32(_COLOUR * min(1.0, uncertainty / _BLUR_OPEN))
        odds += rest * np.float32(_REST * min(1.0, self.frames / _REST_FRAMES))
        odds -= _outside(seen)
        return odds


def draw(odds: Plane, seen: Look, width: int, height: int) -> Mask | None:
    """The mask in a frame of that size from the odds of each pixel of a square, without islands; None where nothing is the object's."""
    return paste(_without_islands(odds), seen.window, width, height)


def expected_iou(odds: Plane) -> float:
    """What intersection over union with the true mask is to be expected, if the odds are right."""
    odds = thinned(odds)
    probability = 1 / (1 + np.exp(-odds))
    inside = odds > 0
    sure = float(probability[inside].sum())
    return sure / max(float(np.count_nonzero(inside)) + float(probability.sum()) - sure, 1e-6)


def _without_islands(odds: Plane) -> Plane:
    """The same odds, below zero on parts that are small beside the largest."""
    inside = (thinned(odds) > 0).view(np.uint8)
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    if count <= 2:
        return odds
    areas = statistics[:, cv2.CC_STAT_AREA]
    small = areas < _ISLAND * areas[1:].max()
    small[0] = False
    if not small.any():
        return odds
    around = np.ones((3, 3), np.uint8)
    islands, kept = (np.asarray(cv2.dilate(part.view(np.uint8), around), np.uint8) for part in (small[parts], ~small[parts] & (parts > 0)))
    gone = np.asarray(cv2.resize(islands & ~kept & 1, odds.shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8).view(np.bool_)
    return np.where(gone, np.minimum(odds, -np.abs(odds)), odds)


def of_object(flow: Flow, share: Plane) -> Flow:
    """The flow of the object's own pixels, spread over its surroundings, so that the background does not pull at its outline."""
    weight, weighted = blurred(share, _FLOW_REACH), blurred(flow * share[..., None], _FLOW_REACH)
    own = np.minimum(weight * np.float32(1 / _DOUBT), 1)
    mean = weighted / np.maximum(weight, np.float32(_DOUBT))[..., None]
    return np.asarray(mean * own[..., None] + flow * (1 - own)[..., None], np.float32)


def _odds(share: Plane) -> Plane:
    """The logarithm of the odds of what has been seen with that share, bounded by `_DOUBT`."""
    levels = cv2.convertScaleAbs(share, alpha=255)
    return np.asarray(cv2.LUT(levels, _odds_of_levels()), np.float32)


@functools.lru_cache(maxsize=1)
def _odds_of_levels() -> Plane:
    share = np.arange(256) / 255
    return np.log((share + _DOUBT) / (1 - share + _DOUBT)).astype(np.float32)


def _outside(seen: Look) -> Plane:
    """What counts against each pixel for lying outside the box: shape (side, side)."""
    side, window, box = seen.side, seen.window, seen.box
    columns = _beyond(side, window.left, window.width, box[0], box[2])
    rows = _beyond(side, window.top, window.height, box[1], box[3])
    return np.maximum(columns[None, :], rows[:, None])


def _beyond(side: int, start: int, length: int, first: float, last: float) -> Plane:
    centres = start + (np.arange(side, dtype=np.float32) + 0.5) * np.float32(length / side)
    distance = np.maximum(np.float32(first) - centres, centres - np.float32(last)) / max(last - first, 1.0) - _BOX_TOLERANCE
    return np.asarray(np.clip(distance * (_BOX_WEIGHT / _BOX_SPREAD), 0, _BOX_MOST), np.float32)
