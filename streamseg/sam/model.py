"""The networks of the SAM family with the original's interface: built by name, called with a list of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Final, NotRequired, Protocol, TypedDict

import torch
from torch import Tensor

from streamseg.errors import UsageError
from streamseg.models.options import MOBILE_SAM
from streamseg.models.segmenters.resizing import Size
from streamseg.models.segmenters.sam.checkpoint import load_network_as
from streamseg.models.segmenters.sam.embedding import normalise, restore
from streamseg.models.segmenters.sam.image_encoder import INPUT_SIZE
from streamseg.models.segmenters.sam.network import SamNetwork
from streamseg.models.segmenters.sam.prompt_encoder import BACKGROUND_POINT, FOREGROUND_POINT, NO_POINT, Prompts


class PromptedImage(TypedDict):
    """One picture and its prompts, in pixels of the resized picture (`ResizeLongestSide`).

    Keys:
        image: The resized picture, shape (3, height, width), RGB, levels 0 to 255.
        original_size: Height and width before resizing.
        point_coords: Shape (batch, points, 2): x, y.
        point_labels: Shape (batch, points): 1 on the object, 0 off it, -1 for padding.
        boxes: Shape (batch, 4): left, top, right, bottom.
        mask_inputs: Shape (batch, 1, 256, 256): logits of an earlier prediction.
    """

    image: Tensor
    original_size: Size
    point_coords: NotRequired[Tensor]
    point_labels: NotRequired[Tensor]
    boxes: NotRequired[Tensor]
    mask_inputs: NotRequired[Tensor]


class ImageMasks(TypedDict):
    """The masks for the prompts of one picture.

    Keys:
        masks: Shape (batch, 1 or 3, height, width), bool, in pixels of the picture.
        iou_predictions: Shape (batch, 1 or 3).
        low_res_logits: Shape (batch, 1 or 3, 256, 256), over the network's padded input.
    """

    masks: Tensor
    iou_predictions: Tensor
    low_res_logits: Tensor


class SamModel(SamNetwork):
    """A network of the SAM family with the attributes and calls of the original's model, for inference only."""

    mask_threshold: Final = 0.0
    image_format: Final = "RGB"

    @property
    def device(self) -> torch.device:
        """The network's device."""
        return next(self.parameters()).device

    @torch.no_grad()
    def forward(self, batched_input: Sequence[PromptedImage], multimask_output: bool) -> list[ImageMasks]:
        """Decode the prompts of several pictures at once, one mask each or three with `multimask_output`.

        Raises:
            UsageError: A picture or its prompts have the wrong shapes.
        """
        features = self.encode(torch.stack([self.preprocess(given["image"]) for given in batched_input]))
        return [
            self._decode(given, own[None], multimask=multimask_output)
            for given, own in zip(batched_input, features, strict=True)
        ]

    def preprocess(self, x: Tensor) -> Tensor:
        """Normalise and pad resized RGB pictures, (..., 3, height, width), levels 0 to 255, to (..., 3, 1024, 1024).

        Raises:
            UsageError: The pictures have another shape.
        """
        if x.ndim < 3 or x.shape[-3] != 3 or max(x.shape[-2:]) > INPUT_SIZE:
            raise UsageError(
                f"an image must have the shape (..., 3, height, width) and a longer side of {INPUT_SIZE}, "
                f"not {tuple(x.shape)}; resize it with ResizeLongestSide"
            )
        return normalise(x)

    def postprocess_masks(self, masks: Tensor, input_size: Size, original_size: Size) -> Tensor:
        """Resize logits of the padded input, (batch, masks, 256, 256), to the picture, (batch, masks, height, width).

        Args:
            masks: The logits.
            input_size: The resized picture's height and width.
            original_size: The picture's height and width.
        """
        return restore(masks, (input_size[0], input_size[1]), (original_size[0], original_size[1]))

    def _decode(self, given: PromptedImage, features: Tensor, *, multimask: bool) -> ImageMasks:
        prompts = prompts_of(
            given.get("point_coords"),
            given.get("point_labels"),
            given.get("boxes"),
            given.get("mask_inputs"),
            self.device,
        )
        prediction = self.predict(features, prompts, multimask=multimask)
        height, width = given["image"].shape[-2:]
        logits = self.postprocess_masks(prediction.logits, (height, width), given["original_size"])
        return {
            "masks": logits > self.mask_threshold,
            "iou_predictions": prediction.predicted_iou,
            "low_res_logits": prediction.logits,
        }


def prompts_of(
    points: Tensor | None, labels: Tensor | None, boxes: Tensor | None, masks: Tensor | None, device: torch.device
) -> Prompts:
    """Check prompts in pixels of the resized picture, shapes as in `PromptedImage`; one mask is broadcast.

    Raises:
        UsageError: The shapes do not match, points lack labels, a label is unknown, or a number is not finite.
    """
    if (points is None) != (labels is None):
        raise UsageError("point_coords and point_labels must be given together: one label, 1 or 0, for each point")
    if points is not None and labels is not None and (points.ndim != 3 or points.shape != (*labels.shape, 2)):
        raise UsageError(
            "points must have the shape (batch, points, 2) and labels (batch, points), "
            f"not {tuple(points.shape)} and {tuple(labels.shape)}"
        )
    if (
        labels is not None
        and not torch.isin(labels, torch.tensor([NO_POINT, BACKGROUND_POINT, FOREGROUND_POINT]).to(labels)).all()
    ):
        raise UsageError(
            "labels must be 1 (on the object), 0 (off it) or -1 (no point), "
            f"not {sorted(set(labels.flatten().tolist()))}"
        )
    if boxes is not None and (boxes.ndim < 2 or boxes.shape[-1] != 4):
        raise UsageError(f"boxes must have the shape (batch, 4), not {tuple(boxes.shape)}")
    if masks is not None and masks.shape[1:] != (1, INPUT_SIZE // 4, INPUT_SIZE // 4):
        raise UsageError(f"earlier masks must be logits of the shape (batch, 1, 256, 256), not {tuple(masks.shape)}")
    points, labels, boxes, masks = (
        None if given is None else given.to(device, torch.float32) for given in (points, labels, boxes, masks)
    )
    for name, numbers in (("points", points), ("boxes", boxes), ("earlier masks", masks)):
        if numbers is not None and not torch.isfinite(numbers).all():
            raise UsageError(f"{name} must be finite numbers")
    boxes = None if boxes is None else boxes.reshape(-1, 4)
    batch = next((len(given) for given in (points, boxes) if given is not None), 1)
    if masks is not None and len(masks) == 1:
        masks = masks.expand(batch, -1, -1, -1)
    try:
        return Prompts(boxes=boxes, points=points, labels=labels, masks=masks)
    except ValueError as error:
        raise UsageError(str(error)) from error


class Builder(Protocol):
    """Builds a network."""

    def __call__(self, checkpoint: str | PathLike[str] | None = None) -> SamModel:
        """Load an official file, or take random weights; on the CPU, ready for inference."""
        ...


def build_sam_vit_h(checkpoint: str | PathLike[str] | None = None) -> SamModel:
    """Build SAM with a ViT-H, with the weights of `sam_vit_h_4b8939.pth` or random ones.

    Raises:
        CheckpointError: The file is not a checkpoint of that network.
    """
    return _build("sam-vit-h", checkpoint)


def build_sam_vit_l(checkpoint: str | PathLike[str] | None = None) -> SamModel:
    """Build SAM with a ViT-L, with the weights of `sam_vit_l_0b3195.pth` or random ones.

    Raises:
        CheckpointError: The file is not a checkpoint of that network.
    """
    return _build("sam-vit-l", checkpoint)


def build_sam_vit_b(checkpoint: str | PathLike[str] | None = None) -> SamModel:
    """Build SAM with a ViT-B, with the weights of `sam_vit_b_01ec64.pth` or random ones.

    Raises:
        CheckpointError: The file is not a checkpoint of that network.
    """
    return _build("sam-vit-b", checkpoint)


def build_sam_vit_t(checkpoint: str | PathLike[str] | None = None) -> SamModel:
    """Build MobileSAM, with the weights of `mobile_sam.pt` or random ones.

    Raises:
        CheckpointError: The file is not a checkpoint of that network.
    """
    return _build(MOBILE_SAM, checkpoint)


build_sam: Final[Builder] = build_sam_vit_h

sam_model_registry: Final[Mapping[str, Builder]] = MappingProxyType(
    {
        "default": build_sam_vit_h,
        "vit_h": build_sam_vit_h,
        "vit_l": build_sam_vit_l,
        "vit_b": build_sam_vit_b,
        "vit_t": build_sam_vit_t,
    }
)
"""The builders, by the original's names."""


def _build(architecture: str, checkpoint: str | PathLike[str] | None) -> SamModel:
    if checkpoint is None:
        return SamModel(architecture).ready()
    return load_network_as(SamModel, Path(checkpoint), architecture)
