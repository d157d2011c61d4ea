"""Masks on their way: where each of their pixels comes from, and what is drawn from that on a newer frame.

The masks of a frame's objects are carried together (see `planes`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.masks import Mask
from streamseg.propagate.keyframe_mask import TEMPLATE_SIDE, Template
from streamseg.propagate.looks import Flow, Look, expected_flow, moved_into
from streamseg.propagate.planes import (
    CELL_CENTRES,
    FLOW_SIDE,
    blurred,
    enlarged,
    merged,
    resized,
    sample,
    split,
    thinned,
)
from streamseg.window import Plane, Window, paste

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


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """A mask that has come some way.

    Attributes:
        origin: Where it comes from.
        halved: The origin's planes in half of their resolution, which is enough for the smaller squares.
        small: The origin's share in the resolution of flow: shape (FLOW_SIDE, FLOW_SIDE), 0 to 1.
        filled: Its mean.
        in_box: How it lay in its box at the origin: its share, and odds by that outline. Shape (FLOW_SIDE, FLOW_SIDE, 2).
        way: For each place of the newest square, how far away its pixel was in the origin's, x and y as in `Flow`, and how uncertain an
            outline is there, from 0 on: shape (FLOW_SIDE, FLOW_SIDE, 3).
        share: How much of each cell of the newest square is about the object's: shape (FLOW_SIDE, FLOW_SIDE), 0 to 1.
        frames: How many steps it has come.
    """

    origin: Template
    halved: _Levels
    small: Plane
    filled: float
    in_box: Plane
    way: Plane
    share: Plane
    frames: int

    @classmethod
    def starting(cls, origin: Template, seen: Window | None = None, placed: Window | None = None) -> Carried:
        """At the origin itself.

        Args:
            origin: What is remembered of it.
            seen: What the square shows in which it is followed on that frame.
            placed: What the origin's square shows.
        """
        size = (FLOW_SIDE, FLOW_SIDE)
        halved = np.asarray(
            cv2.resize(origin.planes, (TEMPLATE_SIDE // 2, TEMPLATE_SIDE // 2), interpolation=cv2.INTER_AREA), np.uint8
        )
        small = np.asarray(cv2.resize(origin.share, size, interpolation=cv2.INTER_AREA), np.float32) * np.float32(
            1 / 255
        )
        rest = _odds(_levels(np.asarray(cv2.GaussianBlur(small, (0, 0), _REST_BLUR * FLOW_SIDE), np.float32), 255))
        way = np.zeros((*size, 3), np.float32)
        way[..., 2] = _AT_FIRST
        share = small
        if seen is not None and placed is not None:
            way[..., :2] = expected_flow(placed, seen, (0.0, 0.0), FLOW_SIDE)
            share = moved_into(seen, placed, small)
        return cls(origin, halved, small, float(small.mean()), np.dstack((small, rest)), way, share, 0)

    def aged(self, frames: int) -> Carried:
        """The same, come at least so many steps."""
        unseen = frames - self.frames
        if unseen <= 0:
            return self
        way = self.way.copy()
        way[..., 2] += np.float32(unseen * _UNSEEN)
        return replace(self, way=way, frames=frames)

    def at_rest(self, look: Look, share: Plane) -> Carried:
        """The same, back at the origin's place in its box; with the share that each cell of the newest square then has."""
        way = self.way.copy()
        way[..., :2] = expected_flow(look.placed, look.window, (0.0, 0.0), FLOW_SIDE)
        return replace(self, way=way, share=share)


def shares_after(masks: Sequence[Carried], flows: Flow) -> Plane:
    """How much of each cell is about the object's after a further step, for n masks: shape (n, FLOW_SIDE, FLOW_SIDE), 0 to 1."""
    (x, y, _), (further_x, further_y) = split(np.stack([each.way for each in masks])), split(flows)
    return sample([each.small for each in masks], x + further_x, y + further_y, FLOW_SIDE)


def along(masks: Sequence[Carried], flows: Flow, shares: Plane) -> list[Carried]:
    """One step further.

    Args:
        masks: n of them.
        flows: For each the flow between the newest square so far and the next.
        shares: For each what `shares_after` says of it.
    """
    x, y = split(flows)
    ways = sample([each.way for each in masks], x, y, FLOW_SIDE, cv2.BORDER_REPLICATE)
    ways += merged(x, y, _bending(x, y, shares) * np.float32(_BENT) + np.float32(_A_FRAME))
    steps = zip(masks, ways, shares, strict=True)
    return [replace(each, way=way, share=share, frames=each.frames + 1) for each, way, share in steps]


def in_boxes(masks: Sequence[Carried], looks: Sequence[Look]) -> Plane:
    """How each of n masks would lie in the newest squares, were it at rest in its box: `Carried.in_box` as it is seen there."""
    both = zip(masks, looks, strict=True)
    return np.stack([moved_into(seen.window, seen.placed, each.in_box, cv2.BORDER_REPLICATE) for each, seen in both])


def checked(masks: Sequence[Carried], looks: Sequence[Look], at_rest: Plane, evidence: Plane) -> list[Carried]:
    """The same n masks, each at rest in its box where that fits clearly better what colours say: there, flow has drifted.

    Args:
        masks: What is carried of each.
        looks: The newest of each.
        at_rest: How much of each cell is each object's if it is at rest: shape (n, FLOW_SIDE, FLOW_SIDE).
        evidence: What each origin's colours say of its look: shape (n, side, side).
    """
    told = thinned(evidence)
    shares = np.stack((np.stack([each.share for each in masks]), at_rest), axis=1)
    carried, resting = (told[:, None] * (2 * shares - 1)).sum(axis=(2, 3)).T
    drifted = resting - carried > _DRIFTED * np.abs(carried)
    both = zip(masks, looks, at_rest, drifted, strict=True)
    return [each.at_rest(seen, share) if gone else each for each, seen, share, gone in both]


def odds_of(
    masks: Sequence[Carried], looks: Sequence[Look], rest: Plane, evidence: Plane, opinions: Sequence[Plane | None]
) -> Plane:
    """For each pixel of the looks at n objects, the logarithm of the odds that it is the object's: shape (n, side, side).

    Args:
        masks: What is carried of each.
        looks: The newest of each, all of one side.
        rest: Odds by the outline of each at rest in its box: shape (n, FLOW_SIDE, FLOW_SIDE).
        evidence: What each origin's colours say of its look: shape (n, side, side).
        opinions: What the small segmenter says of each, in any resolution; None where it says nothing.
    """
    side = looks[0].side
    frames = np.array([each.frames for each in masks], np.float32)[:, None, None]
    rest = rest * (_REST * np.minimum(1, frames / _REST_FRAMES)) - _outside(looks)
    x, y, uncertainty, rest = enlarged(np.stack([*split(np.stack([each.way for each in masks])), rest]), side)
    share, soft, by_colour, by_opinion = split(_sample_origins(masks, x, y))
    odds = _odds(_between(share, soft, uncertainty))
    odds *= _HALF_LIFE / (_HALF_LIFE + frames)
    odds += _weighed(evidence, by_colour, uncertainty, _COLOUR, _COLOUR / _OPEN)
    for place, opinion in enumerate(opinions):
        if opinion is not None:
            odds[place] += _weighed(
                resized([opinion], side)[0], by_opinion[place], uncertainty[place], _OPINION, _OPINION
            )
    odds += rest
    return odds


def _sample_origins(masks: Sequence[Carried], x: Plane, y: Plane) -> _Levels:
    """The planes of the origins, from that far away: shape (n, side, side, 4)."""
    if x.shape[-1] > TEMPLATE_SIDE // 2:
        return sample([each.origin.planes for each in masks], x, y, TEMPLATE_SIDE)
    return sample([each.halved for each in masks], x, y, TEMPLATE_SIDE // 2)


def draw(odds: Plane, seen: Look, width: int, height: int) -> Mask | None:
    """The mask in a frame of that size from the odds of each pixel of a square, without islands; None where nothing is the object's."""
    return paste(_without_islands(odds), seen.window, width, height)


def expected_ious(odds: Plane) -> NDArray[np.float32]:
    """What IoU with its true mask is to be expected of each of n masks, if the odds of shape (n, side, side) are right: shape (n,)."""
    probability = 1 / (1 + np.exp(-odds))
    inside = odds > 0
    sure = probability.sum(axis=(1, 2), where=inside)
    either = inside.sum(axis=(1, 2)) + probability.sum(axis=(1, 2)) - sure
    return np.asarray(sure / np.maximum(either, 1e-6), np.float32)


def _without_islands(odds: Plane) -> Plane:
    """The same odds, below zero on parts that are small beside the largest."""
    inside = (thinned(odds) > 0).view(np.uint8)
    count, parts = cv2.connectedComponents(inside, connectivity=4)
    if count <= 2:
        return odds
    areas = np.bincount(parts.ravel())
    small = areas < _ISLAND * areas[1:].max()
    small[0] = False
    if not small.any():
        return odds
    around = np.ones((3, 3), np.uint8)
    islands, kept = (
        np.asarray(cv2.dilate(part.view(np.uint8), around), np.uint8)
        for part in (small[parts], ~small[parts] & (parts > 0))
    )
    gone = np.asarray(
        cv2.resize(islands & ~kept & 1, odds.shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8
    ).view(np.bool_)
    return np.where(gone, np.minimum(odds, -np.abs(odds)), odds)


def of_objects(flows: Flow, shares: Plane) -> Flow:
    """The flow of each object's own pixels, spread over its surroundings, so that the background does not pull at its outline."""
    x, y = split(flows)
    own_x, own_y, weight = split(blurred(merged(shares * x, shares * y, shares), _FLOW_REACH))
    own = np.minimum(weight * np.float32(1 / _DOUBT), 1)
    weight = own / np.maximum(weight, np.float32(_DOUBT))
    rest = 1 - own
    return merged(own_x * weight + x * rest, own_y * weight + y * rest)


def _bending(x: Plane, y: Plane, shares: Plane) -> Plane:
    """How differently each place moves from its object as a whole, in sides of the square: shape (n, FLOW_SIDE, FLOW_SIDE).

    As a whole it moves and is stretched, if only because its boxes are not exact.
    """
    as_whole_x = _stretched(x, shares)[:, None]
    as_whole_y = _stretched(y.transpose(0, 2, 1), shares.transpose(0, 2, 1))[:, :, None]
    return np.asarray(cv2.magnitude(x - as_whole_x, y - as_whole_y), np.float32)


def _stretched(along: Plane, shares: Plane) -> Plane:
    """The line that fits an axis' part of each object's flow best, along that axis: shape (n, FLOW_SIDE)."""
    weights = shares.sum(axis=1)
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
    from_middle = CELL_CENTRES - (weights @ CELL_CENTRES)[:, None] / total
    sums = (along * shares).sum(axis=1)
    spread = np.maximum((from_middle**2 * weights).sum(axis=1, keepdims=True), _LEAST_SPREAD)
    slope = (from_middle * sums).sum(axis=1, keepdims=True) / spread
    return np.asarray(sums.sum(axis=1, keepdims=True) / total + slope * from_middle, np.float32)


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


def _outside(looks: Sequence[Look]) -> Plane:
    """What counts against each cell for lying outside the box: shape (n, FLOW_SIDE, FLOW_SIDE)."""
    windows = np.array(
        [(each.window.left, each.window.top, each.window.width, each.window.height) for each in looks], np.float32
    )
    boxes = np.array([each.box for each in looks], np.float32)
    # Columns and rows together, in sides of the box from its left and top.
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1)
    along = ((windows[:, :2] - boxes[:, :2]) / sides)[..., None] + (windows[:, 2:] / sides)[..., None] * CELL_CENTRES
    beyond = np.maximum(-along, along - 1)
    beyond -= np.float32(_BOX_TOLERANCE)
    beyond *= np.float32(_BOX_WEIGHT / _BOX_SPREAD)
    np.clip(beyond, 0, _BOX_MOST, out=beyond)
    outside: Plane = np.maximum(beyond[:, 0, None], beyond[:, 1, :, None])
    return outside
