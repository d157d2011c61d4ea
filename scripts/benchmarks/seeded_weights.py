"""Weights of MobileSAM that anyone can make: random ones, whose masks are nevertheless the objects of a scene, roughly.

Random weights alone give masks that are empty, full or noise, where the IoU of two programs says little. Here the last layers are fitted
to a scene, so that each box gets a few blobs of its own, of about a tenth to a quarter of the picture. An error anywhere in the network
moves their borders, more than it does those of trained weights, whose logits are steep there: with the features of a shifted picture,
the masks' IoU with the right ones falls to 0.8.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.scene import Scene
from streamseg.models.options import MOBILE_SAM
from streamseg.models.segmenters.sam import ImageEmbedding, Sam, SamNetwork
from streamseg.models.segmenters.sam.checkpoint import official_name
from streamseg.models.segmenters.sam.mask_decoder import MaskDecoder

_CLASSES, _TRUNK_CHANNELS = 1000, 320
_LOGITS = 256
"""Side of the mask decoder's logits, which cover the padded input."""
_LOGIT_DEVIATION = 4.0
_PREDICTED_IOU = 0.8
"""Of the one mask for clear prompts, which the other programs always draw: good enough that ours is never another one."""


class _Drawing:
    """The layers of a mask decoder that make the one mask of a clear prompt, and its predicted IoU."""

    def __init__(self, decoder: MaskDecoder) -> None:
        self.convolutions = [layer for layer in decoder.output_upscaling if isinstance(layer, nn.ConvTranspose2d)]
        self.linears = [
            layer for layer in decoder.output_hypernetworks_mlps[0].modules() if isinstance(layer, nn.Linear)
        ]
        self.score = [layer for layer in decoder.iou_prediction_head.modules() if isinstance(layer, nn.Linear)][-1]


def write_seeded_checkpoint(path: Path, scene: Scene, seed: int = 0) -> None:
    """Save weights in the official format, under the official names, with all of its entries.

    Args:
        path: The file.
        scene: Whose objects the masks are fitted to.
        seed: Other ones make other weights.
    """
    network = SamNetwork(MOBILE_SAM).ready()
    _randomise(network, torch.Generator().manual_seed(seed))
    sam = Sam(network)
    embedding = sam.encode(scene.image)
    _spread(sam, embedding, scene)
    _fit(sam, embedding, scene)
    state = {official_name(name): tensor.contiguous() for name, tensor in network.state_dict().items()}
    # The classifier, which takes no part in segmentation, is in the official file as well.
    for name, shape in (
        ("norm_head.weight", (_TRUNK_CHANNELS,)), ("norm_head.bias", (_TRUNK_CHANNELS,)),
        ("head.weight", (_CLASSES, _TRUNK_CHANNELS)), ("head.bias", (_CLASSES,)),
    ):  # fmt: skip
        state[f"image_encoder.{name}"] = torch.zeros(shape)
    torch.save(state, path)


def _randomise(network: SamNetwork, random: torch.Generator) -> None:
    """Fill in numbers of the size that training leaves: nothing stays at its beginning of zeros and ones."""
    state = network.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=random)
            tensor.copy_(_entry(name, noise))
    for name, tensor in state.items():
        if "cross_attn_image_to_token.k_proj.weight" in name:
            # A place of the picture looks for the token of the corner that lies there.
            tensor.copy_(state[name.replace("k_proj", "q_proj")])


def _entry(name: str, noise: Tensor) -> Tensor:
    if name.endswith("running_var"):
        return 0.75 + 0.5 * noise.abs()
    if "cross_attn_image_to_token" in name and name.endswith(("q_proj.bias", "k_proj.bias")):
        return torch.zeros_like(noise)
    if "gaussian_matrix" in name:
        return 0.5 * noise
    if "mask_tokens" in name or "iou_token" in name:
        return noise
    if "embed" in name and noise.ndim == 2:
        return 0.2 * noise
    if name.endswith(("bias", "running_mean", "attention_biases")):
        entry = 0.1 * noise
    elif noise.ndim == 1:
        entry = 1 + 0.1 * noise
    else:
        entry = noise * math.sqrt((2 if noise.ndim == 4 else 1) / noise[0].numel())
    return entry * _gain(name)


def _gain(name: str) -> float:
    """How much a part adds to what it is added to."""
    if name.startswith("image_encoder.stages") and name.rsplit(".", 1)[0].endswith(
        ("mlp.fc2", "attn.proj", "conv3.bn")
    ):
        return 0.2
    if name.startswith("image_encoder.neck.3"):
        return 0.15
    return 2.0 if "image_to_token.q_proj" in name else 1.0


def _spread(sam: Sam, embedding: ImageEmbedding, scene: Scene) -> None:
    """Give the last layers before the mask numbers that differ from box to box and from place to place, by one deviation each."""
    parts = _Drawing(sam.network.mask_decoder)
    for convolution in parts.convolutions:
        # Pixels that come of one feature are alike; each with a texture of its own, masks would have far longer borders.
        convolution.weight.copy_(2 * convolution.weight.mean(dim=(2, 3), keepdim=True).expand_as(convolution.weight))
        found = _outputs(convolution, lambda: _ask(sam, embedding, scene))
        deviation, mean = torch.std_mean(found[:, :, : _rows(embedding) * found.shape[2] // _LOGITS], dim=(0, 2, 3))
        assert convolution.bias is not None
        convolution.weight.div_(deviation.view(1, -1, 1, 1))
        convolution.bias.sub_(mean).div_(deviation)
    for linear in parts.linears[:2]:
        deviation, mean = torch.std_mean(_outputs(linear, lambda: _ask(sam, embedding, scene)), dim=0)
        linear.weight.div_(deviation.view(-1, 1))
        linear.bias.sub_(mean).div_(deviation)


def _fit(sam: Sam, embedding: ImageEmbedding, scene: Scene) -> None:
    """Choose the last linear layer by two ridge regressions: each box's best kernel for its object, then the tokens' way to it."""
    decoder = sam.network.mask_decoder
    rows = _rows(embedding)
    shapes = [
        cv2.resize(shape.astype(np.float32), (_LOGITS, rows), interpolation=cv2.INTER_AREA) for shape in scene.objects
    ]
    wanted = 2 * torch.from_numpy(np.stack(shapes)).flatten(1) - 1
    pixels = _outputs(decoder.output_upscaling, lambda: _ask(sam, embedding, scene))[:, :, :rows].flatten(2)
    inside = wanted.gt(0).float().mean(dim=1, keepdim=True)
    weights = torch.where(wanted > 0, 1 / inside, 1 / (1 - inside)).unsqueeze(1)
    kernels = _ridge(weights * pixels @ pixels.mT, (weights * pixels @ wanted.unsqueeze(2)), 0.1).squeeze(2)
    _, before, last = _Drawing(decoder).linears
    hidden = _outputs(before, lambda: _ask(sam, embedding, scene)).relu()
    spread, mean = hidden - hidden.mean(dim=0), kernels.mean(dim=0)
    matrix = (spread.T @ _ridge(spread @ spread.T, kernels - mean, 0.1)).T
    bias = mean - matrix @ hidden.mean(dim=0)
    scale = _LOGIT_DEVIATION / ((hidden @ matrix.T + bias).unsqueeze(1) @ pixels).std()
    last.weight.copy_(matrix * scale)
    last.bias.copy_(bias * scale)
    score = _Drawing(decoder).score
    score.weight.mul_(0.1)
    score.bias.fill_(_PREDICTED_IOU)


def _ridge(matrix: Tensor, target: Tensor, strength: float) -> Tensor:
    diagonal = matrix.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
    solved: Tensor = torch.linalg.solve(matrix + strength * diagonal * torch.eye(matrix.shape[-1]), target)
    return solved


def _rows(embedding: ImageEmbedding) -> int:
    """How many rows of the logits lie over the picture."""
    return round(_LOGITS * embedding.resized_size[0] / max(embedding.resized_size))


def _ask(sam: Sam, embedding: ImageEmbedding, scene: Scene) -> None:
    sam.predict(embedding, embedding.prompts(boxes=scene.boxes), multimask=False)


def _outputs(module: nn.Module, work: Callable[[], None]) -> Tensor:
    """What a module gives out while something is done, its batches joined."""
    found: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    try:
        work()
    finally:
        hook.remove()
    return torch.cat(found)
