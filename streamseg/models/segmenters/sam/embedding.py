"""An encoded picture, and the conversion between its pixels and the network's.

The network's input is the picture, resized so that its longer side is 1024, and padded on the right and at the bottom.
Positions in it are pixels of the resized picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional

from streamseg.models.segmenters.resizing import PIXEL_MEAN, PIXEL_STD, Size, resize_positions
from streamseg.models.segmenters.sam.image_encoder import INPUT_SIZE
from streamseg.models.segmenters.sam.prompt_encoder import Prompts


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbedding:
    """An encoded picture.

    Attributes:
        features: Shape (1, 256, 64, 64), on the model's device.
        original_size: Height and width of the picture.
        resized_size: Height and width of the resized picture, at the top left of the padded input.
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
        """Convert prompts in pixels of the picture to the network's tensors.

        Args:
            boxes: Shape (objects, 4): left, top, right, bottom.
            points: Shape (objects, points, 2): x, y.
            labels: Shape (objects, points): 1 on the object, 0 off it, -1 for padding.
            masks: Shape (objects, 1, 256, 256): logits of an earlier prediction, in the network's pixels.

        Raises:
            ValueError: The shapes do not match.
        """
        return Prompts(
            boxes=None if boxes is None else self._tensor(resize_positions(boxes, self.original_size).reshape(-1, 4)),
            points=None if points is None else self._tensor(resize_positions(points, self.original_size)),
            labels=None if labels is None else self._tensor(labels, torch.int64),
            masks=None if masks is None else self._tensor(masks),
        )

    def restore(self, logits: Tensor) -> Tensor:
        """Resize logits, (batch, masks, 256, 256), to the picture: (batch, masks, height, width), no padding."""
        return restore(logits, self.resized_size, self.original_size)

    def _tensor(self, values: ArrayLike, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=dtype, device=self.features.device)


def normalise(pixels: Tensor) -> Tensor:
    """Normalise and pad resized RGB, (..., 3, height, width), levels 0 to 255, to (..., 3, 1024, 1024), float32."""
    mean = torch.tensor(PIXEL_MEAN, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(PIXEL_STD, device=pixels.device).view(3, 1, 1)
    height, width = pixels.shape[-2:]
    return functional.pad((pixels - mean) / std, (0, INPUT_SIZE - width, 0, INPUT_SIZE - height))


def restore(logits: Tensor, resized: Size, original: Size) -> Tensor:
    """Resize logits over the padded input, shape (batch, masks, 256, 256), to the picture, in SAM's two steps."""
    padded = functional.interpolate(logits, (INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False)
    return functional.interpolate(
        padded[..., : resized[0], : resized[1]], original, mode="bilinear", align_corners=False
    )
