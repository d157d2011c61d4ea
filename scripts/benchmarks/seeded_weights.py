"""A drawn scene, and weights of MobileSAM whose masks roughly cover its objects; both the same for everyone.

With plain random weights, masks are empty, full or noise, and the IoU of two programs says little. Here the last layers
are fitted to the scene: each box gets a few blobs of its own, which cover a tenth to a quarter of the picture. An error
anywhere in the network moves their borders, more than with trained weights, whose logits are steep there: with the
features of a shifted picture, the IoU falls to 0.8.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from streamseg.masks import Bits
from streamseg.messages import Image
from streamseg.models.options import MOBILE_SAM
from streamseg.models.segmenters.sam import ImageEmbedding, Sam, SamNetwork
from streamseg.models.segmenters.sam.checkpoint import official_name
from streamseg.models.segmenters.sam.mask_decoder import MaskDecoder

_HEIGHT, _WIDTH = 720, 1280
_COLUMNS, _ROWS = 5, 4
BOXES = _COLUMNS * _ROWS


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and its objects.

    Attributes:
        image: Shape (height, width, 3), uint8, BGR.
        objects: Shape (20, height, width): the pixels inside each object's outline.
        boxes: Shape (20, 4), float32: left, top, right, bottom in pixels; the first ones lie far apart.
    """

    image: Image
    objects: Bits
    boxes: NDArray[np.float32]


def draw_scene(image: Image | None = None, seed: int = 0) -> Scene:
    """Draw twenty ellipses of 2 to 20 % of the picture, with a colour and a texture each, over coloured clouds.

    Args:
        image: A picture to use instead, shape (height, width, 3), uint8, BGR; the boxes are the same.
        seed: Decides the picture.
    """
    random = np.random.default_rng(seed)
    height, width = (_HEIGHT, _WIDTH) if image is None else image.shape[:2]
    picture = _clouds(random, height, width) if image is None else image
    objects = np.zeros((BOXES, height, width), np.bool_)
    for index, place in enumerate(random.permutation(BOXES)):
        outline = np.zeros((height, width), np.uint8)
        row, column = divmod(int(place), _COLUMNS)
        centre = (
            (column + random.uniform(0.4, 0.6)) / _COLUMNS * width,
            (row + random.uniform(0.4, 0.6)) / _ROWS * height,
        )
        axes = (random.uniform(0.16, 0.36) * width, random.uniform(0.28, 0.6) * height)
        cv2.ellipse(outline, (centre, axes, random.uniform(-30, 30)), 1, thickness=cv2.FILLED)
        objects[index] = outline.view(np.bool_)
        if image is None:
            _paint(picture, objects[index], random)
    if image is None:
        picture = np.clip(picture + random.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
    return Scene(picture, objects, np.array([_box(outline) for outline in objects], np.float32))


def _clouds(random: np.random.Generator, height: int, width: int) -> Image:
    coarse = random.uniform(40, 215, (6, 10, 3)).astype(np.float32)
    smooth: Image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    return smooth


def _paint(picture: Image, inside: Bits, random: np.random.Generator) -> None:
    rows, columns = np.nonzero(inside)
    angle, period = random.uniform(0, np.pi), random.uniform(8, 40)
    stripes = np.sin((np.cos(angle) * columns + np.sin(angle) * rows) * (2 * np.pi / period))
    picture[inside] = np.clip(random.uniform(30, 225, 3) + random.uniform(15, 45) * stripes[:, None], 0, 255).astype(
        np.uint8
    )


def _box(outline: Bits) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


_CLASSES, _TRUNK_CHANNELS = 1000, 320
_LOGITS = 256
"""Side of the mask decoder's logits, which cover the padded input."""
_LOGIT_DEVIATION = 4.0
_PREDICTED_IOU = 0.8
"""High enough that ours always returns the mask for unambiguous prompts, as the other programs do."""


class _Layers:
    """The layers of a mask decoder for the mask of an unambiguous prompt, and for its predicted IoU."""

    def __init__(self, decoder: MaskDecoder) -> None:
        self.convolutions = [layer for layer in decoder.output_upscaling if isinstance(layer, nn.ConvTranspose2d)]
        self.linears = [
            layer for layer in decoder.output_hypernetworks_mlps[0].modules() if isinstance(layer, nn.Linear)
        ]
        self.score = [layer for layer in decoder.iou_prediction_head.modules() if isinstance(layer, nn.Linear)][-1]


def write_seeded_checkpoint(path: Path, scene: Scene, seed: int = 0) -> None:
    """Save weights in the official format, with all of its entries.

    Args:
        path: The file.
        scene: The masks are fitted to its objects.
        seed: Decides the weights.
    """
    network = SamNetwork(MOBILE_SAM).ready()
    _randomise(network, torch.Generator().manual_seed(seed))
    sam = Sam(network)
    embedding = sam.encode(scene.image)
    _spread(sam, embedding, scene)
    _fit(sam, embedding, scene)
    state = {official_name(name): tensor.contiguous() for name, tensor in network.state_dict().items()}
    # The official file also holds the classifier, which takes no part in segmentation.
    for name, shape in (
        ("norm_head.weight", (_TRUNK_CHANNELS,)), ("norm_head.bias", (_TRUNK_CHANNELS,)),
        ("head.weight", (_CLASSES, _TRUNK_CHANNELS)), ("head.bias", (_CLASSES,)),
    ):  # fmt: skip
        state[f"image_encoder.{name}"] = torch.zeros(shape)
    torch.save(state, path)


def _randomise(network: SamNetwork, random: torch.Generator) -> None:
    """Fill in numbers as large as trained ones; nothing keeps its initial zeros and ones."""
    state = network.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=random)
            tensor.copy_(_entry(name, noise))
    for name, tensor in state.items():
        if "cross_attn_image_to_token.k_proj.weight" in name:
            # A place of the picture attends to the token of the corner at that place.
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
    """Return the weight of a residual branch."""
    if name.startswith("image_encoder.stages") and name.rsplit(".", 1)[0].endswith(
        ("mlp.fc2", "attn.proj", "conv3.bn")
    ):
        return 0.2
    if name.startswith("image_encoder.neck.3"):
        return 0.15
    return 2.0 if "image_to_token.q_proj" in name else 1.0


def _spread(sam: Sam, embedding: ImageEmbedding, scene: Scene) -> None:
    """Scale the last layers before the mask so that their output varies by one deviation over boxes and places."""
    parts = _Layers(sam.network.mask_decoder)
    for convolution in parts.convolutions:
        # All pixels of one feature get the same value; otherwise the masks' borders would be far longer.
        convolution.weight.copy_(2 * convolution.weight.mean(dim=(2, 3), keepdim=True).expand_as(convolution.weight))
        found = _outputs(convolution, lambda: _predict(sam, embedding, scene))
        deviation, mean = torch.std_mean(found[:, :, : _rows(embedding) * found.shape[2] // _LOGITS], dim=(0, 2, 3))
        assert convolution.bias is not None
        convolution.weight.div_(deviation.view(1, -1, 1, 1))
        convolution.bias.sub_(mean).div_(deviation)
    for linear in parts.linears[:2]:
        deviation, mean = torch.std_mean(_outputs(linear, lambda: _predict(sam, embedding, scene)), dim=0)
        linear.weight.div_(deviation.view(-1, 1))
        linear.bias.sub_(mean).div_(deviation)


def _fit(sam: Sam, embedding: ImageEmbedding, scene: Scene) -> None:
    """Fit the last linear layer by two ridge regressions: a kernel for each object, then the tokens to the kernels."""
    decoder = sam.network.mask_decoder
    rows = _rows(embedding)
    shapes = [
        cv2.resize(shape.astype(np.float32), (_LOGITS, rows), interpolation=cv2.INTER_AREA) for shape in scene.objects
    ]
    wanted = 2 * torch.from_numpy(np.stack(shapes)).flatten(1) - 1
    pixels = _outputs(decoder.output_upscaling, lambda: _predict(sam, embedding, scene))[:, :, :rows].flatten(2)
    inside = wanted.gt(0).float().mean(dim=1, keepdim=True)
    weights = torch.where(wanted > 0, 1 / inside, 1 / (1 - inside)).unsqueeze(1)
    kernels = _ridge(weights * pixels @ pixels.mT, (weights * pixels @ wanted.unsqueeze(2)), 0.1).squeeze(2)
    _, before, last = _Layers(decoder).linears
    hidden = _outputs(before, lambda: _predict(sam, embedding, scene)).relu()
    spread, mean = hidden - hidden.mean(dim=0), kernels.mean(dim=0)
    matrix = (spread.T @ _ridge(spread @ spread.T, kernels - mean, 0.1)).T
    bias = mean - matrix @ hidden.mean(dim=0)
    scale = _LOGIT_DEVIATION / ((hidden @ matrix.T + bias).unsqueeze(1) @ pixels).std()
    last.weight.copy_(matrix * scale)
    last.bias.copy_(bias * scale)
    score = _Layers(decoder).score
    score.weight.mul_(0.1)
    score.bias.fill_(_PREDICTED_IOU)


def _ridge(matrix: Tensor, target: Tensor, strength: float) -> Tensor:
    diagonal = matrix.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
    solved: Tensor = torch.linalg.solve(matrix + strength * diagonal * torch.eye(matrix.shape[-1]), target)
    return solved


def _rows(embedding: ImageEmbedding) -> int:
    """Return the number of rows of logits over the picture."""
    return round(_LOGITS * embedding.resized_size[0] / max(embedding.resized_size))


def _predict(sam: Sam, embedding: ImageEmbedding, scene: Scene) -> None:
    sam.predict(embedding, embedding.prompts(boxes=scene.boxes), multimask=False)


def _outputs(module: nn.Module, work: Callable[[], None]) -> Tensor:
    """Collect what a module outputs during some work, its batches joined."""
    found: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    try:
        work()
    finally:
        hook.remove()
    return torch.cat(found)
