"""`from streamseg import SAM`: prompts objects in pictures, with the calls that Ultralytics documents for its `SAM`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.models.segmenters.sam import Sam
from streamseg.models.segmenters.sam.automatic import AutomaticOptions, generate
from streamseg.models.weights import locate
from streamseg.monitor.progress import DownloadDisplay, WorkDisplay
from streamseg.object_prompts import LOGITS_SIZE, Numbers, ObjectPrompts
from streamseg.sam.info import ModelInfo, as_rich_table, model_info
from streamseg.sam.picture_masks import PictureMasks
from streamseg.sam.pictures import PictureSource, read_pictures


class SAM:
    """MobileSAM or the original SAM, prompted by points, boxes or earlier masks, or for everything in a picture.

        model = SAM("mobile_sam.pt")
        (detections,) = model("dog.jpg", bboxes=[439, 437, 524, 709])

    Attributes:
        core: The model on arrays and tensors.
    """

    def __init__(self, model: str | Path = "mobile_sam.pt", device: str = "auto") -> None:
        """Load a model; the file determines its architecture.

        Args:
            model: A file in the official format, or the name of one to download on first use: `mobile_sam.pt`,
                `sam_vit_b_01ec64.pth`, `sam_b.pt` and so on; `streamseg weights list` lists them.
            device: PyTorch's name of the device, such as `cpu` or `cuda:0`; `auto` takes a GPU if there is one.

        Raises:
            WeightsError: The file is missing, cannot be downloaded, or is not a checkpoint of a known model.
            UsageError: PyTorch cannot use the device.
        """
        with DownloadDisplay() as display:
            path = locate(str(model), progress=display.update)
        self.core = Sam.load(path, device=device)

    @property
    def name(self) -> str:
        """The architecture: `mobilesam`, `sam-vit-b`, `sam-vit-l` or `sam-vit-h`."""
        return self.core.name

    @property
    def device(self) -> torch.device:
        """The device it computes on."""
        return self.core.device

    def to(self, device: str) -> Self:
        """Move to another device, named as for the constructor.

        Raises:
            UsageError: PyTorch cannot use the device.
        """
        self.core.to(device)
        return self

    def info(self, verbose: bool = True) -> ModelInfo:
        """Count the parameters of the model's parts, beside the published counts; `verbose` prints a table."""
        info = model_info(self.core.network)
        if verbose:
            Console().print(as_rich_table((info,)))
        return info

    def predict(
        self,
        source: PictureSource | Sequence[PictureSource],
        *,
        points: Numbers | None = None,
        labels: Numbers | None = None,
        bboxes: Numbers | None = None,
        masks: Numbers | None = None,
        multimask_output: bool = False,
    ) -> list[PictureMasks]:
        """Find the masks of prompted objects, or of everything without prompts; also `model(source, ...)`.

        Prompts are in pixels of the picture, in lists, arrays or tensors; points, boxes and masks together describe the
        same objects, in order. The same prompts apply to each picture.

        Args:
            source: A file (rotated by its Exif orientation), a folder of files (in the order of their names), an array
                of shape (height, width, 3) BGR, (height, width, 4) BGRA or (height, width) grey, uint8, a Pillow image,
                or a list of these.
            points: x, y. `[900, 370]` is one point, `[[400, 370], [900, 370]]` one point for each of two objects,
                `[[[400, 370], [900, 370]]]` two points for one object. Pad objects with fewer points with any point.
            labels: 1 for a point on the object, 0 for one off it, -1 for padding; shaped as the points. All 1 if
                absent.
            bboxes: left, top, right, bottom: `[439, 437, 524, 709]`, or a list of such. An empty list has no objects.
            masks: Logits of an earlier prediction, `data["logits"]`: shape (256, 256) or (objects, 256, 256).
            multimask_output: Whether to return three candidates per object, for ambiguous prompts such as a single
                point.

        Returns:
            For each picture, in order, the masks found, as `supervision.Detections` with `plot()` and `save()`: `mask`
            (n, height, width) bool; `xyxy` the tight boxes of the masks, right and bottom exclusive; `confidence` the
            predicted IoU of each mask, which may lie slightly outside 0 to 1. There is no `class_id`: annotators need
            `color_lookup=sv.ColorLookup.INDEX`. `data` holds `stability`, the mask's stability against the threshold,
            and

            - for prompts: `prompt`, the object's index, and `logits`, (n, 256, 256), the mask as a later prompt. Rows
              are in the order of the prompts; an empty mask has no row.
            - for everything: `point`, (n, 2), x and y of the prompt; the best mask comes first. The settings are the
              defaults of `AutomaticOptions`.

        Raises:
            SourceError: A picture in `source` cannot be read.
            UsageError: The prompts have a wrong shape, or do not match. Their positions in the picture are not checked.
        """
        prompts = ObjectPrompts.read(points=points, labels=labels, bboxes=bboxes, masks=masks)
        if prompts is None:
            return [self._everything(image) for image in read_pictures(source)]
        return [self._prompted(image, prompts, multimask_output) for image in read_pictures(source)]

    __call__ = predict

    def _everything(self, image: Image) -> PictureMasks:
        with WorkDisplay("looking for everything", None) as display:
            found = generate(self.core, image, AutomaticOptions(), display.update)
        detections = _detections(image, [one.mask for one in found], [one.predicted_iou for one in found])
        detections.data = {
            "stability": np.array([one.stability for one in found], np.float32),
            "point": np.array([one.point for one in found], np.float32).reshape(-1, 2),
        }
        return detections

    def _prompted(self, image: Image, prompts: ObjectPrompts, multimask: bool) -> PictureMasks:
        rows: list[_Row] = []
        # A detector may have found nothing.
        if prompts.count > 0:
            embedding = self.core.encode(image)
            prediction = self.core.predict(embedding, prompts.on(embedding), multimask=multimask)
            scores, logits = prediction.predicted_iou.numpy(force=True), prediction.logits.numpy(force=True)
            rows = [
                _Row(prompt, one.mask, float(scores[prompt, place]), float(one.stability), logits[prompt, place])
                for prompt, candidates in enumerate(self.core.masks(embedding, prediction))
                for place, one in enumerate(candidates)
                if one.mask is not None and one.stability is not None
            ]
        detections = _detections(image, [row.mask for row in rows], [row.predicted_iou for row in rows])
        detections.data = {
            "stability": np.array([row.stability for row in rows], np.float32),
            "prompt": np.array([row.prompt for row in rows], np.int64),
            "logits": np.array([row.logits for row in rows], np.float32).reshape(-1, *LOGITS_SIZE),
        }
        return detections


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One mask of a prompted object."""

    prompt: int
    mask: Mask
    predicted_iou: float
    stability: float
    logits: NDArray[np.float32]


def _detections(image: Image, masks: list[Mask], predicted_iou: list[float]) -> PictureMasks:
    height, width = image.shape[:2]
    full = np.zeros((len(masks), height, width), np.bool_)
    for row, mask in zip(full, masks, strict=True):
        row[:] = mask.paste(height, width)
    return PictureMasks(
        image=image,
        xyxy=np.array([mask.xyxy for mask in masks], np.float32).reshape(-1, 4),
        mask=full,
        confidence=np.array(predicted_iou, np.float32),
    )
