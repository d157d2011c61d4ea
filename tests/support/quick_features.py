"""Features of a picture without an image encoder."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def quick_features(pixels: Tensor) -> Tensor:
    """Features, shape (batch, 256, 64, 64), of pictures, shape (batch, 3, 1024, 1024), within milliseconds.

    They replace an image encoder's, ours and the original's, where only what follows is compared.
    """
    kernels = torch.randn((256, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    return 0.002 * functional.conv2d(pixels, kernels, stride=16)
