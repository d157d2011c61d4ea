"""Everything mode: masks of all objects of a picture, prompted by a grid of points (arXiv:2304.02643, appendix B)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import batched_nms

from streamseg.errors import UsageError
from streamseg.masks import Bits, Mask
from streamseg.messages import Image
from streamseg.models import StepProgress
from streamseg.models.segmenters.resizing import Size, check_image
from streamseg.models.segmenters.sam.embedding import ImageEmbedding
from streamseg.models.segmenters.sam.network import Prediction
from streamseg.models.segmenters.sam.predictor import Sam, stability

Points = NDArray[np.float64]
Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels of the picture."""

_EDGE_WIDTH = 20
"""A mask this near to a crop's edge, in pixels, counts as cut off by it."""
_RESTORED_AT_ONCE = 4


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AutomaticOptions:
    """Settings of everything mode, with the original's names and defaults.

    Attributes:
        points_per_side: Points along each side of the grid over the picture; None if `point_grids` are given.
        points_per_batch: Number of points decoded at once.
        pred_iou_thresh: Masks with a predicted IoU up to this are dropped; 0 and less keep all.
        stability_score_thresh: Masks with a stability below this are dropped; 0 and less keep all.
        stability_score_offset: Stability compares masks at this distance from the threshold, in logits.
        box_nms_thresh: Of two masks of a crop whose boxes have a greater IoU, the one with the lower predicted IoU is
            dropped.
        crop_n_layers: Number of layers of crops to search too; layer i has 2^i x 2^i crops.
        crop_nms_thresh: Of two masks whose boxes have a greater IoU, the one of the larger crop is dropped.
        crop_overlap_ratio: Overlap of the first layer's crops as a share of the picture's shorter side; halves with
            each layer.
        crop_n_points_downscale_factor: Divides the points per side from one layer to the next.
        point_grids: Replaces `points_per_side`: for the picture and each layer, points (n, 2), x and y from 0 to 1.
        min_mask_region_area: Fills holes and removes parts of a mask that have fewer pixels; 0 leaves masks as they
            are.

    Raises:
        UsageError: A number is out of range, or there is not one grid per layer.
    """

    points_per_side: int | None = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    point_grids: Sequence[Points] | None = None
    min_mask_region_area: int = 0

    def __post_init__(self) -> None:
        for name in ("points_per_batch", "crop_n_points_downscale_factor"):
            _check(name, getattr(self, name), 1, math.inf)
        for name in ("stability_score_offset", "crop_n_layers", "min_mask_region_area"):
            _check(name, getattr(self, name), 0, math.inf)
        for name in ("box_nms_thresh", "crop_nms_thresh", "crop_overlap_ratio"):
            _check(name, getattr(self, name), 0, 1)
        for name in ("pred_iou_thresh", "stability_score_thresh"):
            _check(name, getattr(self, name), -math.inf, math.inf)
        if (self.points_per_side is None) == (self.point_grids is None):
            raise UsageError("points_per_side: exactly one of it and point_grids is needed; set the other to None")
        if self.points_per_side is not None:
            fewest = int(self.points_per_side / self.crop_n_points_downscale_factor**self.crop_n_layers)
            _check("points_per_side in the last layer", fewest, 1, math.inf)
        if self.point_grids is not None:
            _check_grids(self.point_grids, self.crop_n_layers + 1)

    def grid(self, layer: int) -> Points:
        """Return the points of a layer, shape (n, 2): x and y as shares of a crop's sides, row by row."""
        if self.point_grids is not None:
            return np.asarray(self.point_grids[layer], dtype=np.float64)
        assert self.points_per_side is not None
        count = int(self.points_per_side / self.crop_n_points_downscale_factor**layer)
        places = np.linspace(0.5 / count, 1 - 0.5 / count, count)
        return np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class FoundMask:
    """One mask of everything mode.

    Attributes:
        mask: Its pixels in the picture.
        predicted_iou: The model's own estimate of the mask's quality.
        stability: Stability of the mask against the threshold, 0 to 1.
        point: The prompt: x and y in pixels of the picture.
        crop_box: The crop in which it was found; right and bottom exclusive.
    """

    mask: Mask
    predicted_iou: float
    stability: float
    point: tuple[float, float]
    crop_box: Rectangle

    @property
    def box(self) -> Rectangle:
        """The mask's first and last column and row, inclusive: a side is one less than its number of pixels."""
        return self.mask.x, self.mask.y, self.mask.x + self.mask.width - 1, self.mask.y + self.mask.height - 1


@dataclass(frozen=True, slots=True)
class _Crop:
    layer: int
    box: Rectangle


def generate(
    model: Sam, image: Image, options: AutomaticOptions, progress: StepProgress | None = None
) -> list[FoundMask]:
    """Find the masks of everything in a picture, as the original's `SamAutomaticMaskGenerator`, in its order.

    Empty masks, which the original lists if a stability threshold of 0 or less lets them pass, are left out.

    Args:
        model: Decodes the points.
        image: Shape (height, width, 3), uint8, BGR.
        options: The settings.
        progress: Called with the number of points before the first batch and after each one.

    Raises:
        UsageError: The image has another shape or type.
    """
    check_image(image)
    size = (image.shape[0], image.shape[1])
    crops = list(_crops(size, options))
    total = sum(len(options.grid(crop.layer)) for crop in crops)
    found: list[FoundMask] = []
    done = 0
    if progress is not None:
        progress(done, total)
    for crop in crops:
        in_crop: list[FoundMask] = []
        for count, masks in _search(model, image, crop, options):
            in_crop += masks
            done += count
            if progress is not None:
                progress(done, total)
        found += _without_duplicates(in_crop, [mask.predicted_iou for mask in in_crop], options.box_nms_thresh)
    if len(crops) > 1:
        found = _without_duplicates(found, [1 / _area(mask.crop_box) for mask in found], options.crop_nms_thresh)
    return _without_small_regions(found, size, options) if options.min_mask_region_area > 0 else found


def _crops(size: Size, options: AutomaticOptions) -> Iterator[_Crop]:
    """The picture itself, then each layer's crops, column by column, without empty ones."""
    height, width = size
    yield _Crop(0, (0, 0, width, height))
    for layer in range(1, options.crop_n_layers + 1):
        count = 2**layer
        overlap = int(options.crop_overlap_ratio * min(size) * (2 / count))
        crop_width, crop_height = (math.ceil((overlap * (count - 1) + side) / count) for side in (width, height))
        for column, row in product(range(count), repeat=2):
            left, top = column * (crop_width - overlap), row * (crop_height - overlap)
            if left < width and top < height:
                yield _Crop(layer, (left, top, min(left + crop_width, width), min(top + crop_height, height)))


def _search(model: Sam, image: Image, crop: _Crop, options: AutomaticOptions) -> Iterator[tuple[int, list[FoundMask]]]:
    """Decode a crop's grid batch by batch; yield the number of points and the masks that pass the filters."""
    left, top, right, bottom = crop.box
    embedding = model.encode(image[top:bottom, left:right])
    points = options.grid(crop.layer) * (right - left, bottom - top)
    for start in range(0, len(points), options.points_per_batch):
        batch = points[start : start + options.points_per_batch]
        prompts = embedding.prompts(points=batch[:, None], labels=np.ones((len(batch), 1)))
        prediction = model.predict(embedding, prompts, multimask=True)
        kept = _filter(embedding, prediction, batch, crop, options)
        yield len(batch), [found for found in kept if not _is_cut_off(found, image)]


def _filter(
    embedding: ImageEmbedding, prediction: Prediction, points: Points, crop: _Crop, options: AutomaticOptions
) -> Iterator[FoundMask]:
    """Keep a batch's masks whose predicted IoU and stability pass the thresholds."""
    left, top, _, _ = crop.box
    candidates = prediction.predicted_iou.shape[1]
    logits = prediction.logits.flatten(0, 1)
    predicted: list[float] = prediction.predicted_iou.flatten().tolist()
    # Resizing masks to the picture is what costs, so filter by predicted IoU first.
    trusted = [
        index
        for index, score in enumerate(predicted)
        if options.pred_iou_thresh <= 0 or score > options.pred_iou_thresh
    ]
    for start in range(0, len(trusted), _RESTORED_AT_ONCE):
        indices = trusted[start : start + _RESTORED_AT_ONCE]
        restored = embedding.restore(logits[indices, None])[:, 0]
        steadiness = stability(restored, options.stability_score_offset).tolist()
        for index, full, steady in zip(indices, restored, steadiness, strict=True):
            # Stability is NaN if all logits are low.
            if options.stability_score_thresh > 0 and not steady >= options.stability_score_thresh:
                continue
            mask = Mask.crop((full > 0).numpy(force=True), left, top)
            if mask is not None:
                x, y = points[index // candidates].tolist()
                yield FoundMask(mask, predicted[index], steady, (x + left, y + top), crop.box)


def _is_cut_off(found: FoundMask, image: Image) -> bool:
    """Whether the mask ends at an edge of its crop that is not the picture's."""
    picture = (0, 0, image.shape[1], image.shape[0])
    return any(
        abs(side - edge) <= _EDGE_WIDTH < abs(side - outermost)
        for side, edge, outermost in zip(found.box, found.crop_box, picture, strict=True)
    )


def _without_duplicates(found: list[FoundMask], scores: list[float], threshold: float) -> list[FoundMask]:
    """Suppress masks whose boxes overlap a better-scored one by more than the threshold; best first."""
    boxes = torch.tensor([mask.box for mask in found], dtype=torch.float32).reshape(-1, 4)
    kept = batched_nms(
        boxes, torch.tensor(scores, dtype=torch.float32), torch.zeros(len(found), dtype=torch.int64), threshold
    )
    return [found[index] for index in kept.tolist()]


def _without_small_regions(found: list[FoundMask], size: Size, options: AutomaticOptions) -> list[FoundMask]:
    """Remove small holes and parts; of masks that become duplicates, prefer an unchanged one."""
    cleaned, scores = [], []
    for one in found:
        bits, changed = _clean(one.mask.paste(*size), options.min_mask_region_area)
        mask = Mask.crop(bits) if changed else one.mask
        assert mask is not None
        cleaned.append(replace(one, mask=mask))
        scores.append(0.0 if changed else 1.0)
    return _without_duplicates(cleaned, scores, max(options.box_nms_thresh, options.crop_nms_thresh))


def _clean(bits: Bits, smallest: int) -> tuple[Bits, bool]:
    """Fill smaller holes and remove smaller parts, but keep the largest part; also return whether anything changed."""
    labels, areas = _regions(~bits)
    kept = areas < smallest
    holes = bool(kept[1:].any())
    kept[0] = True
    labels, areas = _regions(kept[labels])
    kept = areas >= smallest
    parts = not kept[1:].all()
    if not kept[1:].any():
        kept[1 + int(areas[1:].argmax())] = True
    kept[0] = False
    return kept[labels], holes or parts


def _regions(bits: Bits) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Label 8-connected regions, 0 where no bit is set; also return each region's number of pixels."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(bits.view(np.uint8), connectivity=8)
    return np.asarray(labels, np.int32), np.asarray(statistics[:, cv2.CC_STAT_AREA], np.int32)


def _area(box: Rectangle) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _check(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most or math.isnan(value):
        expected = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise UsageError(f"{name}: {value} is out of range; expected a number {expected}")


def _check_grids(grids: Sequence[Points], layers: int) -> None:
    if len(grids) < layers:
        raise UsageError(
            f"point_grids: {len(grids)} given; expected one for the picture and one per layer of crops, {layers} in all"
        )
    for grid in map(np.asarray, grids):
        if grid.ndim != 2 or grid.shape[1] != 2 or not ((grid >= 0) & (grid <= 1)).all():
            raise UsageError(
                f"point_grids: expected arrays of shape (n, 2) with numbers from 0 to 1, not one of shape {grid.shape}"
            )
