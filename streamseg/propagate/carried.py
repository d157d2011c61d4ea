"""One mask on its way: where each of its pixels comes from, and what is drawn from that on a newer frame."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.masks import Mask
from streamseg.propagate.looks import FLOW_SIDE, Flow, Look
from streamseg.propagate.origin import Origin
from streamseg.propagate.planes import blurred, places, remapped, resized, sample_at, split, thinned
from streamseg.window import Plane, paste

_Levels = NDArray[np.uint8]

_FLOW_REACH = FLOW_SIDE / 40
"""Over how many cells the flow of the object's own pixels is averaged (standard deviation)."""
_AT_FIRST, _A_FRAME, _BENT, _UNSEEN = 0.07, 0.033, 22.0, 0.12
"""Uncertainty of an outline, 1 for the most: at first; what a frame adds to it anywhere; where a place moves otherwise than the whole,
for each side of the square by which it does; and in a frame without flow."""
_OPEN = 2 / 3
"""From which uncertainty on colours have their full weight."""
_COLOUR = 3.0
"""That weight, beside the odds by the outline."""
_OPINION = 2.5
"""The small segmenter's, where the outline is most uncertain."""
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
_LEAST_SPREAD = 0.1
"""Of an object's cells along an axis, in squared sides of the square, below which a stretch cannot be told."""
_CENTRES: Plane = (np.arange(FLOW_SIDE, dtype=np.float32) + np.float32(0.5)) / np.float32(FLOW_SIDE)
"""Of the cells of flow, in sides of the square."""


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """A mask that has come some way.

    Attributes:
        origin: Where it comes from.
        small: The origin's share in the resolution of flow: shape (FLOW_SIDE, FLOW_SIDE), 0 to 1.
        filled: Its mean.
        rest: Odds by the outline as it was at the origin, in the same shape.
        way: For each place of the newest square, how far away its pixel was in the origin's, x and y as in `Flow`, and how uncertain an
            outline is there, from 0 on: shape (3, FLOW_SIDE, FLOW_SIDE).
        share: How much of each cell of the newest square is about the object's: shape (FLOW_SIDE, FLOW_SIDE), 0 to 1.
        frames: How many steps it has come.
    """

    origin: Origin
    small: Plane
    filled: float
    rest: Plane
    way: Plane
    share: Plane
    frames: int

    @classmethod
    def starting(cls, origin: Origin) -> Carried:
        """At the origin itself."""
        size = (FLOW_SIDE, FLOW_SIDE)
        small = np.asarray(cv2.resize(origin.share, size, interpolation=cv2.INTER_AREA), np.float32) * np.float32(1 / 255)
        rest = _odds(_levels(np.asarray(cv2.GaussianBlur(small, (0, 0), _REST_BLUR * FLOW_SIDE), np.float32), 255))
        way = np.zeros((3, *size), np.float32)
        way[2] = _AT_FIRST
        return cls(origin, small, float(small.mean()), rest, way, small, 0)

    def share_after(self, flow: Flow) -> Plane:
        """How much of each cell is about the object's after a further step: shape (FLOW_SIDE, FLOW_SIDE), 0 to 1."""
        x, y = split(flow)
        return sample_at(self.small, self.way[0] + x, self.way[1] + y)

    def along(self, flow: Flow, share: Plane) -> Carried:
        """One step further, by the flow between the newest square so far and the next, and by what `share_after` says of it."""
        x, y = split(flow)
        from_x, from_y = places(x, y, FLOW_SIDE)
        way = np.stack([remapped(plane, from_x, from_y, cv2.BORDER_REPLICATE) for plane in self.way])
        way[0] += x
        way[1] += y
        way[2] += _bending(x, y, share) * np.float32(_BENT) + np.float32(_A_FRAME)
        return replace(self, way=way, share=share, frames=self.frames + 1)

    def aged(self, frames: int) -> Carried:
        """The same, come at least so many steps."""
        unseen = frames - self.frames
        if unseen <= 0:
            return self
        way = self.way.copy()
        way[2] += np.float32(unseen * _UNSEEN)
        return replace(self, way=way, frames=frames)

    def checked(self, evidence: Plane) -> Carried:
        """The same, or back at the origin's place in its square where that fits what colours say clearly better: flow has drifted."""
        told = thinned(evidence)
        carried = float((told * (2 * self.share - 1)).sum())
        resting = float((told * (2 * self.small - 1)).sum())
        if resting - carried <= _DRIFTED * abs(carried):
            return self
        way = self.way.copy()
        way[:2] = 0
        return replace(self, way=way, share=self.small)

    def odds(self, seen: Look, evidence: Plane, opinion: Plane | None = None) -> Plane:
        """For each pixel of a look at the object, the logarithm of the odds that it is the object's: shape (side, side).

        Args:
            seen: The newest look.
            evidence: What the origin's colours say of it.
            opinion: What the small segmenter says of it, in any resolution.
        """
        side = seen.side
        x, y, uncertainty = (resized(plane, side) for plane in self.way)
        share, soft, by_colour, by_opinion = split(sample_at(self.origin.planes, x, y))
        odds: Plane = _odds(_between(share, soft, uncertainty)) * np.float32(_HALF_LIFE / (_HALF_LIFE + self.frames))
        odds += _weighed(evidence, by_colour, uncertainty, _COLOUR, _COLOUR / _OPEN)
        if opinion is not None:
            odds += _weighed(resized(opinion, side), by_opinion, uncertainty, _OPINION, _OPINION)
        rest = self.rest * np.float32(_REST * min(1.0, self.frames / _REST_FRAMES))
        rest -= _outside(seen)
        odds += resized(rest, side)
        return odds


def draw(odds: Plane, seen: Look, width: int, height: int) -> Mask | None:
    """The mask in a frame of that size from the odds of each pixel of a square, without islands; None where nothing is the object's."""
    return paste(_without_islands(odds), seen.window, width, height)


def expected_iou(odds: Plane) -> float:
    """What intersection over union with the true mask is to be expected, if the odds are right."""
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
    x, y = split(flow)
    together: Plane = np.asarray(cv2.merge((share * x, share * y, share)), np.float32)
    own_x, own_y, weight = split(blurred(together, _FLOW_REACH))
    own = np.minimum(weight * np.float32(1 / _DOUBT), 1)
    weight = own / np.maximum(weight, np.float32(_DOUBT))
    rest = 1 - own
    return np.asarray(cv2.merge((own_x * weight + x * rest, own_y * weight + y * rest)), np.float32)


def _bending(x: Plane, y: Plane, share: Plane) -> Plane:
    """How differently each place moves from the object as a whole, in sides of the square: shape (FLOW_SIDE, FLOW_SIDE).

    As a whole it moves and is stretched, if only because its boxes are not exact.
    """
    stretched_x, stretched_y = _stretched(x, share), _stretched(y.T, share.T)[:, None]
    return np.asarray(cv2.magnitude(x - stretched_x, y - stretched_y), np.float32)


def _stretched(along: Plane, share: Plane) -> Plane:
    """The line that fits an axis' part of the flow best, along that axis: shape (FLOW_SIDE,)."""
    weights, total = share.sum(axis=0), max(float(share.sum()), 1.0)
    from_middle = _CENTRES - np.float32(_CENTRES @ weights / total)
    sums = (along * share).sum(axis=0)
    slope = from_middle @ sums / max(float(from_middle**2 @ weights), _LEAST_SPREAD)
    return np.asarray(sums.sum() / total + slope * from_middle, np.float32)


def _between(sharp: _Levels, soft: _Levels, uncertainty: Plane) -> _Levels:
    """As sharp or soft as it is certain or not."""
    much = np.minimum(uncertainty, np.float32(1))
    much *= cv2.subtract(soft, sharp, dtype=cv2.CV_32F)
    much += sharp
    return _levels(much, 1)


def _levels(plane: Plane, scale: float) -> _Levels:
    """Times `scale`, in 256 levels."""
    return np.asarray(cv2.convertScaleAbs(plane, alpha=scale), np.uint8)


def _weighed(odds: Plane, trust: _Levels, uncertainty: Plane, most: float, growth: float) -> Plane:
    """What else is known, by how far it is to be trusted, and the more the less certain the outline is."""
    weight = np.minimum(uncertainty * np.float32(growth / 255), np.float32(most / 255))
    weight *= trust
    weight *= odds
    return np.asarray(weight, np.float32)


def _odds(levels: _Levels) -> Plane:
    """The logarithm of the odds of what has been seen with that share, 255 for all, bounded by `_DOUBT`."""
    return np.asarray(cv2.LUT(levels, _odds_of_levels()), np.float32)


@functools.lru_cache(maxsize=1)
def _odds_of_levels() -> Plane:
    share = np.arange(256) / 255
    return np.log((share + _DOUBT) / (1 - share + _DOUBT)).astype(np.float32)


def _outside(seen: Look) -> Plane:
    """What counts against each cell for lying outside the box: shape (FLOW_SIDE, FLOW_SIDE)."""
    window, box = seen.window, seen.box
    width, height = max(box[2] - box[0], 1.0), max(box[3] - box[1], 1.0)
    # Columns and rows together, in sides of the box from its left and top.
    starts = np.array((((window.left - box[0]) / width,), ((window.top - box[1]) / height,)), np.float32)
    steps = np.array(((window.width / width,), (window.height / height,)), np.float32)
    along = starts + steps * _CENTRES
    beyond = np.maximum(-along, along - 1)
    beyond -= np.float32(_BOX_TOLERANCE)
    beyond *= np.float32(_BOX_WEIGHT / _BOX_SPREAD)
    columns, rows = np.clip(beyond, 0, _BOX_MOST, out=beyond)
    outside: Plane = np.maximum(columns, rows[:, None])
    return outside
