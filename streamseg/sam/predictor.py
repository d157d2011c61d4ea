"""Prompts on one picture, under the original's names."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from streamseg.errors import NoImageError, UsageError
from streamseg.messages import Image
from streamseg.models.segmenters.resizing import Size
from streamseg.models.segmenters.sam import ImageEmbedding, Sam
from streamseg.sam.model import SamModel, prompts_of
from streamseg.sam.transforms import ResizeLongestSide

Masks = NDArray[np.bool_] | NDArray[np.float32]


class SamPredictor:
    """Encodes a picture once, and decodes prompts on it until another is set.

    Attributes:
        model: The network.
        transform: Converts the picture's pixels to the network's.
        is_image_set: Whether there is a picture.
        features: The encoded picture, shape (1, 256, 64, 64).
        original_size: Height and width of the picture.
        input_size: Height and width of the resized picture.
    """

    is_image_set: bool
    features: Tensor | None
    original_size: Size | None
    input_size: Size | None

    def __init__(self, sam_model: SamModel) -> None:
        """Use a network, such as one of `sam_model_registry`, on its device."""
        self.model = sam_model
        self.transform = ResizeLongestSide(sam_model.image_encoder.img_size)
        self.reset_image()

    @property
    def device(self) -> torch.device:
        """The network's device."""
        return self.model.device

    def set_image(self, image: Image, image_format: Literal["RGB", "BGR"] = "RGB") -> None:
        """Encode a picture of shape (height, width, 3), uint8, its channels in the order `image_format`.

        Raises:
            UsageError: The image has another shape or type, or the format is unknown.
        """
        if image_format not in ("RGB", "BGR"):
            raise UsageError(f"image_format: {image_format!r} is unknown; expected 'RGB' or 'BGR'")
        resized = self.transform.apply_image(image)
        pixels = np.ascontiguousarray(resized if image_format == self.model.image_format else resized[..., ::-1])
        self.set_torch_image(
            torch.as_tensor(pixels, device=self.device).permute(2, 0, 1)[None], (image.shape[0], image.shape[1])
        )

    @torch.no_grad()
    def set_torch_image(self, transformed_image: Tensor, original_image_size: Size) -> None:
        """Encode a picture that `transform` has resized.

        Args:
            transformed_image: Shape (1, 3, height, width), RGB, levels 0 to 255, the longer side 1024.
            original_image_size: Height and width before resizing.

        Raises:
            UsageError: The image has another shape.
        """
        longer_side = self.transform.target_length
        shape = tuple(transformed_image.shape)
        if len(shape) != 4 or shape[:2] != (1, 3) or max(shape[2:]) != longer_side:
            raise UsageError(
                f"the image must have the shape (1, 3, height, width) and a longer side of {longer_side}, not {shape}"
            )
        self.reset_image()
        self.features = self.model.encode(self.model.preprocess(transformed_image.to(self.device)))
        self.original_size = (original_image_size[0], original_image_size[1])
        self.input_size = (shape[2], shape[3])
        self.is_image_set = True

    def predict(
        self,
        point_coords: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Masks, NDArray[np.float32], NDArray[np.float32]]:
        """Draw the mask of one object.

        Args:
            point_coords: Shape (points, 2): x, y, in pixels of the picture.
            point_labels: Shape (points,): 1 on the object, 0 off it.
            box: Shape (4,) or (1, 4): left, top, right, bottom, in pixels of the picture.
            mask_input: Shape (1, 256, 256): low-resolution logits of an earlier prediction.
            multimask_output: Whether to return three candidates, for an ambiguous prompt, instead of one mask.
            return_logits: Whether to return the masks' logits.

        Returns:
            The masks, shape (1 or 3, height, width), bool, or their logits, float32; their predicted IoU, shape (1 or
            3,); and their low-resolution logits, shape (1 or 3, 256, 256), a `mask_input` for a later call.

        Raises:
            NoImageError: There is no picture.
            UsageError: The prompts have the wrong shapes, or are not finite.
        """
        size = self._embedding().original_size
        points = (
            None if point_coords is None else torch.as_tensor(self.transform.apply_coords(point_coords, size))[None]
        )
        labels = None if point_labels is None else torch.as_tensor(np.asarray(point_labels))[None]
        boxes = None if box is None else torch.as_tensor(self.transform.apply_boxes(box, size))
        if boxes is not None and len(boxes) != 1:
            raise UsageError(
                f"box: {len(boxes)} boxes were given; expected one (4 numbers); predict_torch takes several"
            )
        earlier = None if mask_input is None else torch.as_tensor(np.asarray(mask_input))[None]
        masks, iou, low_res = self.predict_torch(points, labels, boxes, earlier, multimask_output, return_logits)
        return masks[0].numpy(force=True), iou[0].numpy(force=True), low_res[0].numpy(force=True)

    @torch.no_grad()
    def predict_torch(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw the masks of several objects, from prompts in pixels of the resized picture.

        Args:
            point_coords: Shape (batch, points, 2): x, y.
            point_labels: Shape (batch, points): 1 on the object, 0 off it, -1 for padding.
            boxes: Shape (batch, 4): left, top, right, bottom.
            mask_input: Shape (batch or 1, 1, 256, 256): low-resolution logits of an earlier prediction.
            multimask_output: Whether to return three candidates per prompt instead of one mask.
            return_logits: Whether to return the masks' logits.

        Returns:
            The masks, shape (batch, 1 or 3, height, width), bool, or their logits, float32; their predicted IoU, shape
            (batch, 1 or 3); and their low-resolution logits, shape (batch, 1 or 3, 256, 256).

        Raises:
            NoImageError: There is no picture.
            UsageError: The prompts have the wrong shapes, or are not finite.
        """
        embedding = self._embedding()
        prompts = prompts_of(point_coords, point_labels, boxes, mask_input, self.device)
        prediction = Sam(self.model).predict(embedding, prompts, multimask=multimask_output)
        logits = embedding.restore(prediction.logits)
        return (
            logits if return_logits else logits > self.model.mask_threshold,
            prediction.predicted_iou,
            prediction.logits,
        )

    def get_image_embedding(self) -> Tensor:
        """Return the encoded picture, shape (1, 256, 64, 64).

        Raises:
            NoImageError: There is no picture.
        """
        return self._embedding().features

    def reset_image(self) -> None:
        """Remove the picture."""
        self.is_image_set = False
        self.features = None
        self.original_size = None
        self.input_size = None

    def _embedding(self) -> ImageEmbedding:
        if not self.is_image_set or self.features is None or self.original_size is None or self.input_size is None:
            raise NoImageError("there is no image yet; give one with set_image")
        return ImageEmbedding(self.features, self.original_size, self.input_size)
