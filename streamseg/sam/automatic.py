"""Everything mode under the original's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from streamseg.errors import UsageError
from streamseg.masks import Bits, CocoRle, Mask
from streamseg.messages import Image
from streamseg.models.segmenters.resizing import check_image
from streamseg.models.segmenters.sam import Sam
from streamseg.models.segmenters.sam.automatic import AutomaticOptions, FoundMask, Rectangle, generate
from streamseg.monitor.progress import WorkDisplay
from streamseg.sam.model import SamModel

OutputMode = Literal["binary_mask", "uncompressed_rle", "coco_rle"]


class UncompressedRle(TypedDict):
    """COCO's uncompressed run lengths, down the columns, zeros first; `size` is the picture's height and width."""

    size: list[int]
    counts: list[int]


class GeneratedMask(TypedDict):
    """One mask.

    Keys:
        segmentation: Shape (height, width), bool; or run lengths, by `output_mode`.
        area: Number of pixels.
        bbox: Left, top, width and height, each side one less than the mask has pixels, as in the original.
        predicted_iou: The model's own estimate of the mask's quality.
        point_coords: The prompt: [[x, y]] in pixels of the picture.
        stability_score: Stability against the threshold, 0 to 1.
        crop_box: Left, top, width and height of the crop in which it was found.
    """

    segmentation: Bits | UncompressedRle | CocoRle
    area: int
    bbox: list[int]
    predicted_iou: float
    point_coords: list[list[float]]
    stability_score: float
    crop_box: list[int]


class SamAutomaticMaskGenerator:
    """Finds the masks of everything in a picture."""

    def __init__(
        self,
        model: SamModel,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[NDArray[np.float64]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: OutputMode = "binary_mask",
    ) -> None:
        """Use a network with the settings of `AutomaticOptions`.

        Args:
            model: One of `sam_model_registry`.
            output_mode: Form of each `segmentation`.

        Raises:
            UsageError: A number is out of range, there is not one grid per layer, or the output mode is unknown.
        """
        if output_mode not in ("binary_mask", "uncompressed_rle", "coco_rle"):
            raise UsageError(
                f"output_mode: {output_mode!r} is unknown; expected 'binary_mask', 'uncompressed_rle' or 'coco_rle'"
            )
        self._sam = Sam(model)
        self._output_mode = output_mode
        self._options = AutomaticOptions(
            points_per_side=points_per_side,
            points_per_batch=points_per_batch,
            pred_iou_thresh=pred_iou_thresh,
            stability_score_thresh=stability_score_thresh,
            stability_score_offset=stability_score_offset,
            box_nms_thresh=box_nms_thresh,
            crop_n_layers=crop_n_layers,
            crop_nms_thresh=crop_nms_thresh,
            crop_overlap_ratio=crop_overlap_ratio,
            crop_n_points_downscale_factor=crop_n_points_downscale_factor,
            point_grids=point_grids,
            min_mask_region_area=min_mask_region_area,
        )

    def generate(self, image: Image) -> list[GeneratedMask]:
        """Find the masks of everything in a picture of shape (height, width, 3), uint8, RGB; a terminal shows progress.

        Raises:
            UsageError: The image has another shape or type.
        """
        check_image(image)
        with WorkDisplay("segmenting", None) as display:
            found = generate(self._sam, image[..., ::-1], self._options, display.update)
        return [self._record(one, (image.shape[0], image.shape[1])) for one in found]

    def _record(self, found: FoundMask, size: tuple[int, int]) -> GeneratedMask:
        return {
            "segmentation": _segmentation(found.mask, size, self._output_mode),
            "area": found.mask.area,
            "bbox": _xywh(found.box),
            "predicted_iou": found.predicted_iou,
            "point_coords": [list(found.point)],
            "stability_score": found.stability,
            "crop_box": _xywh(found.crop_box),
        }


def _segmentation(mask: Mask, size: tuple[int, int], mode: OutputMode) -> Bits | UncompressedRle | CocoRle:
    if mode == "binary_mask":
        return mask.paste(*size)
    if mode == "uncompressed_rle":
        return {"size": list(size), "counts": mask.runs(*size).tolist()}
    return mask.rle(*size)


def _xywh(box: Rectangle) -> list[int]:
    left, top, right, bottom = box
    return [left, top, right - left, bottom - top]
