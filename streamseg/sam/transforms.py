"""Resizing to the network's input, under the original's names."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from streamseg.errors import UsageError
from streamseg.messages import Image
from streamseg.models.segmenters.resizing import Size, check_image, resize_image, resize_positions, resized_size


class ResizeLongestSide:
    """Resizes pictures so that their longer side has a given length, and scales coordinates to match."""

    def __init__(self, target_length: int) -> None:
        """Resize to a longer side of `target_length` pixels."""
        self.target_length = target_length

    def apply_image(self, image: Image) -> Image:
        """Resize a picture of shape (height, width, 3), uint8, with antialiasing.

        Raises:
            UsageError: The image has another shape or type.
        """
        check_image(image)
        # Pillow's array is read-only, which makes PyTorch warn.
        return resize_image(image, self.target_length).copy()

    def apply_coords(self, coords: ArrayLike, original_size: Size) -> NDArray[np.float64]:
        """Convert points of a picture of that height and width, x and y in the last axis, to the resized one.

        Raises:
            UsageError: The last axis has another length.
        """
        _check_last_axis(np.shape(coords), 2, "points")
        return resize_positions(coords, (original_size[0], original_size[1]), self.target_length)

    def apply_boxes(self, boxes: ArrayLike, original_size: Size) -> NDArray[np.float64]:
        """Convert boxes, shape (boxes, 4) or (4,): left, top, right, bottom, to the resized picture, shape (boxes, 4).

        Raises:
            UsageError: The last axis has another length.
        """
        _check_last_axis(np.shape(boxes), 4, "boxes")
        return self.apply_coords(np.reshape(boxes, (-1, 2, 2)), original_size).reshape(-1, 4)

    def apply_image_torch(self, image: Tensor) -> Tensor:
        """Resize float pictures, shape (batch, channels, height, width); close to `apply_image`, which SAM expects."""
        size = resized_size((image.shape[2], image.shape[3]), self.target_length)
        return functional.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)

    def apply_coords_torch(self, coords: Tensor, original_size: Size) -> Tensor:
        """As `apply_coords`, for a tensor; float32."""
        _check_last_axis(tuple(coords.shape), 2, "points")
        height, width = resized_size((original_size[0], original_size[1]), self.target_length)
        scale = torch.tensor(
            (width / original_size[1], height / original_size[0]), dtype=torch.float32, device=coords.device
        )
        return coords.to(torch.float32) * scale

    def apply_boxes_torch(self, boxes: Tensor, original_size: Size) -> Tensor:
        """As `apply_boxes`, for a tensor; float32."""
        _check_last_axis(tuple(boxes.shape), 4, "boxes")
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> Size:
        """Height and width after resizing to that longer side."""
        return resized_size((oldh, oldw), long_side_length)


def _check_last_axis(shape: tuple[int, ...], length: int, what: str) -> None:
    if shape[-1:] != (length,):
        raise UsageError(f"{what} must have {length} numbers in the last axis, not the shape {shape}")
