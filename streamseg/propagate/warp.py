"""Keyframe masks warped to newer frames: the log-odds that each pixel of a crop belongs to the object.

Flow moves the template's outline and makes it less certain on the way. Colours, the box, the refiner and the outline at
its original place in the box make up for that.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.propagate.appearance import colour_logits
from streamseg.propagate.crop import (
    CELL_CENTRES,
    FLOW_SIDE,
    Flow,
    ObjectCrop,
    blurred,
    enlarged,
    merged,
    resized,
    rewindowed,
    sampled,
    split,
    thinned,
    window_flow,
)
from streamseg.propagate.keyframe_mask import TEMPLATE_SIDE, Template
from streamseg.window import Plane, Window

_Levels = NDArray[np.uint8]

_FLOW_REACH = FLOW_SIDE / 40
"""Blur of the flow of the object's own pixels: standard deviation in cells. ΔIoU ≤ 0.002."""
_START = 0.07
"""Uncertainty of an outline on the keyframe; 1 is the most that counts. ΔIoU ≤ 0.001."""
_PER_FRAME = 0.033
"""Uncertainty that each frame adds. ΔIoU ≤ 0.001."""
_BENT = 22.0
"""Uncertainty that a cell adds per side of the square by which it moves relative to its object. ΔIoU ≤ 0.001."""
_UNSEEN = 0.12
"""Uncertainty that a frame without flow adds: that of about four frames with flow. Chosen by hand."""
_OPEN = 2 / 3
"""Uncertainty from which on colours have their full weight. ΔIoU ≤ 0.002."""
_COLOUR = 3.0
"""Full weight of the log-odds by colour, beside those by the outline. ΔIoU ≤ 0.010."""
_REFINED = 2.5
"""Weight of the refiner's log-odds at uncertainty 1. ΔIoU ≤ 0.003."""
_DRIFTED = 0.15
"""How much better the place at rest must fit the colours, as a share of the warped mask's own fit. ΔIoU ≤ 0.002."""
_HALF_LIFE = 20.0
"""Frames after which a warped outline counts half. ΔIoU ≤ 0.001."""
_REST = 0.9
"""Weight of the outline at rest in its box: a box is followed better than any pixel. ΔIoU ≤ 0.005."""
_REST_FRAMES = 10.0
"""Frames after which it has that weight. ΔIoU ≤ 0.002."""
_REST_BLUR = 6 / 128
"""Blur of that outline: standard deviation, as a share of the side. ΔIoU ≤ 0.002."""
_DOUBT = 0.01
"""Share of any outline that may be wrong, which bounds its log-odds. ΔIoU ≤ 0.001."""
_BOX_TOLERANCE = 0.03
"""How far outside its box an object may reach without penalty, as a share of the box's sides. ΔIoU ≤ 0.001."""
_BOX_PENALTY = 5.0 / 0.03
"""Log-odds lost per side of the box beyond that. ΔIoU ≤ 0.001."""
_BOX_MOST = 10.0
"""Log-odds lost at most. ΔIoU ≤ 0.001."""
_LEAST_SPREAD = 0.1
"""Spread of an object's cells along an axis, in squared sides, below which stretch is not measured. ΔIoU ≤ 0.001."""


@dataclass(frozen=True, slots=True, eq=False)
class WarpedMask:
    """A keyframe mask on a newer frame.

    Attributes:
        template: The object on its keyframe.
        at_rest: The mask as it lies in its box on the keyframe: its share of each cell, and log-odds by that outline.
            Shape (FLOW_SIDE, FLOW_SIDE, 2).
        offsets: For each cell of the newest crop, the displacement of its content in the template along x and y, as a
            share of the side, and the uncertainty of an outline there, 0 or more: shape (FLOW_SIDE, FLOW_SIDE, 3).
        share: The object's share of each cell of the newest crop, 0 to 1: shape (FLOW_SIDE, FLOW_SIDE).
        frames: Number of frames since the keyframe.
    """

    template: Template
    at_rest: Plane
    offsets: Plane
    share: Plane
    frames: int

    @classmethod
    def on_keyframe(
        cls, template: Template, window: Window | None = None, box_window: Window | None = None
    ) -> WarpedMask:
        """The mask on its keyframe.

        Args:
            template: The object there.
            window: The window of its crop there; that of its box by default.
            box_window: The window of its box there.
        """
        blur = np.asarray(cv2.GaussianBlur(template.share, (0, 0), _REST_BLUR * FLOW_SIDE), np.float32)
        offsets = np.zeros((FLOW_SIDE, FLOW_SIDE, 3), np.float32)
        offsets[..., 2] = _START
        share = template.share
        if window is not None and box_window is not None:
            offsets[..., :2] = window_flow(box_window, window, (0.0, 0.0), FLOW_SIDE)
            share = rewindowed(window, box_window, share)
        return cls(template, np.dstack((template.share, _logits(_levels(blur, 255)))), offsets, share, 0)

    def aged(self, frames: int) -> WarpedMask:
        """The same mask, at least so many frames old: frames without flow make its outline less certain."""
        unseen = frames - self.frames
        if unseen <= 0:
            return self
        offsets = self.offsets.copy()
        offsets[..., 2] += np.float32(unseen * _UNSEEN)
        return replace(self, offsets=offsets, frames=frames)


@dataclass(frozen=True, slots=True, eq=False)
class WarpedMasks:
    """Warped masks of n objects, processed together.

    Attributes:
        templates: One each.
        at_rest: One each, as in `WarpedMask`.
        offsets: Shape (n, FLOW_SIDE, FLOW_SIDE, 3).
        shares: One each, as in `WarpedMask.share`.
        frames: Shape (n,), int.
    """

    templates: Sequence[Template]
    at_rest: Sequence[Plane]
    offsets: Plane
    shares: Sequence[Plane] | Plane
    frames: NDArray[np.int64]

    @classmethod
    def stack(cls, masks: Sequence[WarpedMask]) -> WarpedMasks:
        """Stack at least one mask."""
        return cls(
            [mask.template for mask in masks],
            [mask.at_rest for mask in masks],
            np.stack([mask.offsets for mask in masks]),
            [mask.share for mask in masks],
            np.array([mask.frames for mask in masks]),
        )

    def __getitem__(self, place: int) -> WarpedMask:
        return WarpedMask(
            self.templates[place],
            self.at_rest[place],
            self.offsets[place],
            self.shares[place],
            int(self.frames[place]),
        )

    def shares_after(self, flows: Flow) -> Plane:
        """The objects' share of each cell after one more frame: shape (n, FLOW_SIDE, FLOW_SIDE), 0 to 1."""
        (x, y, _), (further_x, further_y) = split(self.offsets), split(flows)
        return sampled([template.share for template in self.templates], x + further_x, y + further_y, FLOW_SIDE)

    def warped(self, flows: Flow, shares: Plane) -> WarpedMasks:
        """Warp the masks by one more frame.

        Args:
            flows: Of each object, from its newest crop to the next.
            shares: What `shares_after` returns for these flows.
        """
        x, y = split(flows)
        offsets = sampled(self.offsets, x, y, FLOW_SIDE, cv2.BORDER_REPLICATE)
        offsets += merged(x, y, _bending(x, y, shares) * np.float32(_BENT) + np.float32(_PER_FRAME))
        return replace(self, offsets=offsets, shares=shares, frames=self.frames + 1)

    def at_rest_in(self, crops: Sequence[ObjectCrop]) -> Plane:
        """The masks at rest in their boxes, as the newest crops show them: shape (n, FLOW_SIDE, FLOW_SIDE, 2)."""
        pairs = zip(self.at_rest, crops, strict=True)
        return np.stack([rewindowed(crop.window, crop.box_window, mask, cv2.BORDER_REPLICATE) for mask, crop in pairs])

    def without_drift(self, crops: Sequence[ObjectCrop], rest_shares: Plane, colours: Plane) -> WarpedMasks:
        """Put masks that have drifted back to rest in their boxes, if that fits the colours clearly better.

        Args:
            crops: The newest of each object.
            rest_shares: Each object's share of each cell at rest: shape (n, FLOW_SIDE, FLOW_SIDE).
            colours: Log-odds by colour: shape (n, side, side).
        """
        shares = np.asarray(self.shares, np.float32)
        signs = 2 * np.stack((shares, rest_shares), axis=1) - 1
        warped_fit, rest_fit = (thinned(colours)[:, None] * signs).sum(axis=(2, 3)).T
        drifted = np.flatnonzero(rest_fit - warped_fit > _DRIFTED * np.abs(warped_fit))
        if not drifted.size:
            return self
        offsets, shares = self.offsets.copy(), shares.copy()
        for place in drifted.tolist():
            crop = crops[place]
            offsets[place, ..., :2] = window_flow(crop.box_window, crop.window, (0.0, 0.0), FLOW_SIDE)
            shares[place] = rest_shares[place]
        return replace(self, offsets=offsets, shares=shares)

    def logits(
        self, crops: Sequence[ObjectCrop], rest: Plane, colours: Plane, refined: Sequence[Plane | None]
    ) -> Plane:
        """Combine all evidence for each pixel of the newest crops: shape (n, side, side).

        Args:
            crops: The newest of each object, all of one side.
            rest: Log-odds by the outline at rest: shape (n, FLOW_SIDE, FLOW_SIDE).
            colours: Log-odds by colour: shape (n, side, side).
            refined: Log-odds by the refiner, of any side; None if there are none.
        """
        side = crops[0].side
        frames = self.frames.astype(np.float32)[:, None, None]
        rest = rest * (_REST * np.minimum(1, frames / _REST_FRAMES)) - _outside_box(crops)
        x, y, uncertainty, rest = enlarged(np.stack([*split(self.offsets), rest]), side)
        share, soft, colour_trust, refiner_trust = split(self._sample_templates(x, y))
        logits = _logits(_between(share, soft, uncertainty))
        logits *= _HALF_LIFE / (_HALF_LIFE + frames)
        logits += _weighted(colours, colour_trust, uncertainty, _COLOUR, _COLOUR / _OPEN)
        for place, plane in enumerate(refined):
            if plane is not None:
                (plane,) = resized([plane], side)
                logits[place] += _weighted(plane, refiner_trust[place], uncertainty[place], _REFINED, _REFINED)
        logits += rest
        return logits

    def _sample_templates(self, x: Plane, y: Plane) -> _Levels:
        """The planes of the templates at displaced places: shape (n, side, side, 4)."""
        if x.shape[-1] > TEMPLATE_SIDE // 2:
            return sampled([template.planes for template in self.templates], x, y, TEMPLATE_SIDE)
        return sampled([template.halved for template in self.templates], x, y, TEMPLATE_SIDE // 2)


def locate(
    masks: WarpedMasks, crops: Sequence[ObjectCrop], refined: Sequence[Plane | None]
) -> tuple[WarpedMasks, Plane]:
    """Locate n objects in their newest crops.

    Args:
        masks: Warped to these crops.
        crops: All of one side.
        refined: See `WarpedMasks.logits`.

    Returns:
        The masks, put back to rest if they have drifted, and log-odds of shape (n, side, side).
    """
    colours = colour_logits(
        [template.appearance for template in masks.templates], np.stack([crop.picture for crop in crops])
    )
    rest_shares, rest = split(masks.at_rest_in(crops))
    masks = masks.without_drift(crops, rest_shares, colours)
    return masks, masks.logits(crops, rest, colours, refined)


def object_flows(flows: Flow, shares: Plane) -> Flow:
    """The flow of each object's own pixels, spread beyond its outline, so that the background does not pull at it."""
    x, y = split(flows)
    own_x, own_y, weight = split(blurred(merged(shares * x, shares * y, shares), _FLOW_REACH))
    own = np.minimum(weight * np.float32(1 / _DOUBT), 1)
    weight = own / np.maximum(weight, np.float32(_DOUBT))
    rest = 1 - own
    return merged(own_x * weight + x * rest, own_y * weight + y * rest)


def _bending(x: Plane, y: Plane, shares: Plane) -> Plane:
    """How far each cell moves relative to its object, as a share of the side: shape (n, FLOW_SIDE, FLOW_SIDE).

    The object as a whole moves and is stretched, if only because boxes are inexact.
    """
    whole_x = _stretched(x, shares)[:, None]
    whole_y = _stretched(y.transpose(0, 2, 1), shares.transpose(0, 2, 1))[:, :, None]
    return np.asarray(cv2.magnitude(x - whole_x, y - whole_y), np.float32)


def _stretched(flow: Plane, shares: Plane) -> Plane:
    """Fit a line to one axis of each object's flow, along that axis: shape (n, FLOW_SIDE)."""
    weights = shares.sum(axis=1)
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
    from_middle = CELL_CENTRES - (weights @ CELL_CENTRES)[:, None] / total
    sums = (flow * shares).sum(axis=1)
    spread = np.maximum((from_middle**2 * weights).sum(axis=1, keepdims=True), _LEAST_SPREAD)
    slope = (from_middle * sums).sum(axis=1, keepdims=True) / spread
    return np.asarray(sums.sum(axis=1, keepdims=True) / total + slope * from_middle, np.float32)


def _between(sharp: _Levels, soft: _Levels, uncertainty: Plane) -> _Levels:
    """Blend a sharp and a soft outline by its uncertainty."""
    blend = np.minimum(uncertainty, np.float32(1))
    blend *= cv2.subtract(soft, sharp, dtype=cv2.CV_32F)
    blend += sharp
    return _levels(blend, 1)


def _levels(plane: Plane, scale: float) -> _Levels:
    """Times `scale`, as 256 levels."""
    return np.asarray(cv2.convertScaleAbs(plane, alpha=scale), np.uint8)


def _weighted(logits: Plane, trust: _Levels, uncertainty: Plane, most: float, growth: float) -> Plane:
    """Weigh evidence by its trust, and the more the less certain the outline is."""
    weight = np.minimum(uncertainty * np.float32(growth / 255), np.float32(most / 255))
    weight *= trust
    weight *= logits
    return np.asarray(weight, np.float32)


def _logits(levels: _Levels) -> Plane:
    """The log-odds of a share in 256 levels, bounded by `_DOUBT`."""
    return np.asarray(cv2.LUT(levels, _log_odds_of_levels()), np.float32)


@functools.lru_cache(maxsize=1)
def _log_odds_of_levels() -> Plane:
    share = np.arange(256) / 255
    return np.log((share + _DOUBT) / (1 - share + _DOUBT)).astype(np.float32)


def _outside_box(crops: Sequence[ObjectCrop]) -> Plane:
    """The penalty on cells outside the box: shape (n, FLOW_SIDE, FLOW_SIDE)."""
    windows = np.array(
        [(crop.window.left, crop.window.top, crop.window.width, crop.window.height) for crop in crops], np.float32
    )
    boxes = np.array([crop.box for crop in crops], np.float32)
    # Columns and rows together, as a share of the box's sides, from its left and top.
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1)
    along = ((windows[:, :2] - boxes[:, :2]) / sides)[..., None] + (windows[:, 2:] / sides)[..., None] * CELL_CENTRES
    beyond = np.maximum(-along, along - 1)
    beyond -= np.float32(_BOX_TOLERANCE)
    beyond *= np.float32(_BOX_PENALTY)
    np.clip(beyond, 0, _BOX_MOST, out=beyond)
    penalty: Plane = np.maximum(beyond[:, 0, None], beyond[:, 1, :, None])
    return penalty
