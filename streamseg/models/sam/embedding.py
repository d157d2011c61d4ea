"""One picture as a network of the SAM family sees it, and the way between its pixels and the network's.

The network's input is the picture, resized so that its longer side is 1024 and padded at the right and at the bottom. Positions
there are pixels of the resized picture; a position's fraction of the picture stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image as PilImage
from torch import Tensor
from torch.nn import functional

from streamseg.messages import Image
from streamseg.models.sam.image_encoder import INPUT_SIZE
from streamseg.models.sam.prompt_encoder import Prompts

Size = tuple[int, int]
"""Height and width in pixels."""

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
"""Of each channel of RGB, in levels of 0 to 255."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbedding:
    """What the network remembers of one picture.

    Attributes:
        features: Shape (1, 256, 64, 64), on the model's device.
        original_size: The picture's.
        resized_size: The picture's as the model saw it: longer side 1024, at the top left of the padded input.
    """

    features: Tensor
    original_size: Size
    resized_size: Size

    def prompts(
        self,
        *,
        boxes: ArrayLike | None = None,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        masks: ArrayLike | None = None,
    ) -> Prompts:
        """Prompts in pixels of the picture as the tensors that the network takes.

        Args:
            boxes: Shape (objects, 4): left, top, right, bottom.
            points: Shape (objects, points, 2): x, y.
            labels: Shape (objects, points): 1 for a point on the object, 0 for one off it, -1 for one that only fills up.
            masks: Shape (objects, 1, 256, 256): logits of an earlier answer, which are in the network's pixels already.

        Raises:
            ValueError: The shapes do not fit together.
        """
        return Prompts(
            boxes=None if boxes is None else self._tensor(resize_positions(boxes, self.original_size).reshape(-1, 4)),
            points=None if points is None else self._tensor(resize_positions(points, self.original_size)),
            labels=None if labels is None else self._tensor(labels, torch.int64),
            masks=None if masks is None else self._tensor(masks),
        )

    def restore(self, logits: Tensor) -> Tensor:
        """Logits over the padded input, shape (batch, masks, 256, 256), as logits over the picture: (batch, masks, height, width)."""
        return restore(logits, self.resized_size, self.original_size)

    def _tensor(self, values: ArrayLike, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=dtype, device=self.features.device)


def resized_size(size: Size, longer_side: int = INPUT_SIZE) -> Size:
    """A picture's size after resizing: the longer side as given, the other in proportion and at least 1."""
    scale = longer_side / max(size)
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def resize_image(image: Image, longer_side: int = INPUT_SIZE) -> Image:
    """Resize a picture of shape (height, width, 3), uint8, to `resized_size`, exactly as SAM does."""
    height, width = resized_size((image.shape[0], image.shape[1]), longer_side)
    # SAM resizes with Pillow, whose antialiasing OpenCV's resize does not have.
    return np.asarray(PilImage.fromarray(image).resize((width, height), PilImage.Resampling.BILINEAR))


def resize_positions(positions: ArrayLike, original_size: Size, longer_side: int = INPUT_SIZE) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Positions in pixels of the picture, x and y in the last axis, or a box's four numbers there, in pixels of the resized one."""
    given = np.asarray(positions, dtype=np.float64)
    height, width = resized_size(original_size, longer_side)
    # Rounding gives each axis a ratio of its own.
    return (given.reshape(-1, 2) * (width / original_size[1], height / original_size[0])).reshape(given.shape)


def normalise(pixels: Tensor) -> Tensor:
    """Resized RGB pictures, shape (..., 3, height, width), levels 0 to 255, as the encoder's input: (..., 3, 1024, 1024), float32."""
    mean = torch.tensor(PIXEL_MEAN, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(PIXEL_STD, device=pixels.device).view(3, 1, 1)
    height, width = pixels.shape[-2:]
    return functional.pad((pixels - mean) / std, (0, INPUT_SIZE - width, 0, INPUT_SIZE - height))


def restore(logits: Tensor, resized: Size, original: Size) -> Tensor:
    """Logits over the padded input, shape (batch, masks, 256, 256), over the picture, in the two steps that SAM takes."""
    padded = functional.interpolate(logits, (INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False)
    return functional.interpolate(padded[..., : resized[0], : resized[1]], original, mode="bilinear", align_corners=False)
