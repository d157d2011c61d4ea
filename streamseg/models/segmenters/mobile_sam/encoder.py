"""MobileSAM's image encoder, rewritten for speed: the same function of the same weights.

On the whole input it equals the reference in `streamseg.models.segmenters.sam` up to rounding. Batch norms are folded
into their convolutions; queries, keys and values have separate projections, with the attention's scale in the queries';
windows at the border are padded after the projections instead of before.

On a part of the input, the rest is treated as padding that does not depend on the picture. So it is constant: its
features, and what convolutions and windows at the border read of it in each layer. With the border nine cells from the
picture, the picture's features are the same within 0.001 % of their spread, with random weights, and the padding's
within 2 %. With zeros beyond the border, the picture's features would be off by 3 %.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamseg.models.segmenters.mobile_sam.input_grid import InputGrid
from streamseg.models.segmenters.sam.image_encoder import FEATURE_CHANNELS
from streamseg.models.segmenters.sam.network import SamNetwork

_Size = tuple[int, int]


class WindowAttention(nn.Module):
    """TinyViT's attention inside windows of its own size (arXiv:2207.10666), with its layer norm in front."""

    bias: Tensor
    right: Tensor
    below: Tensor

    def __init__(self, block: Any, size: _Size) -> None:
        """Take the weights of timm's `TinyVitBlock` for a map of `size` (height, width) tokens."""
        super().__init__()
        attention, self.window = block.attn, block.window_size
        self.height, self.width = size
        self.fill_height, self.fill_width = -self.height % self.window, -self.width % self.window
        self.rows, self.columns = (
            (self.height + self.fill_height) // self.window,
            (self.width + self.fill_width) // self.window,
        )
        self.heads = attention.num_heads
        self.norm, self.output = attention.norm, attention.proj
        channels = attention.qkv.in_features
        # The joint projection's rows are, for each head, its queries, keys and values.
        weights, biases = (
            attention.qkv.weight.view(self.heads, 3, -1, channels),
            attention.qkv.bias.view(self.heads, 3, -1),
        )
        scales = (attention.scale, 1.0, 1.0)
        self.projections = nn.ModuleList(
            _linear(weights[:, part].flatten(0, 1) * scale, biases[:, part].flatten() * scale)
            for part, scale in enumerate(scales)
        )
        self.register_buffer("bias", attention.attention_biases[:, attention.attention_bias_idxs].detach())
        # Tokens beyond the input are 0 before the norm.
        self._fill(torch.zeros(1, self.rows * self.window, self.columns * self.window, channels))

    def surround(self, whole: Tensor) -> None:
        """Fill windows at the border from the whole map, shape (1, channels, height, width), where it reaches."""
        beyond = functional.pad(whole, (0, self.columns * self.window, 0, self.rows * self.window)).permute(0, 2, 3, 1)
        self._fill(beyond[:, : self.rows * self.window, : self.columns * self.window])

    @torch.no_grad()
    def _fill(self, tokens: Tensor) -> None:
        """Take the tokens right of the map and below it, from shape (1, filled height, filled width, channels)."""
        projected = torch.cat([projection(self.norm(tokens)) for projection in self.projections])
        self.register_buffer("right", projected[:, : self.height, self.width :].contiguous())
        self.register_buffer("below", projected[:, self.height :].contiguous())

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape (1, height * width, channels) to the same, without the residual."""
        normed = self.norm(tokens)
        query, key, value = (
            self._windows(projection(normed), part) for part, projection in enumerate(self.projections)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=self.bias, scale=1.0)
        windows = attended.view(self.rows, self.columns, self.heads, self.window, self.window, -1).permute(
            0, 3, 1, 4, 2, 5
        )
        filled = windows.reshape(1, self.rows * self.window, self.columns * self.window, -1)
        mixed: Tensor = self.output(filled[:, : self.height, : self.width].reshape(tokens.shape))
        return mixed

    def _windows(self, projected: Tensor, part: int) -> Tensor:
        """Shape (1, height * width, channels) to (windows, heads, tokens of a window, channels of a head)."""
        filled = projected.view(1, self.height, self.width, -1)
        if self.fill_width:
            filled = torch.cat((filled, self.right[part : part + 1]), dim=2)
        if self.fill_height:
            filled = torch.cat((filled, self.below[part : part + 1]), dim=1)
        windows = filled.view(self.rows, self.window, self.columns, self.window, self.heads, -1).permute(
            0, 2, 4, 1, 3, 5
        )
        return windows.reshape(self.rows * self.columns, self.heads, self.window * self.window, -1)


class HaloConvolution(nn.Module):
    """A 3x3 convolution of tokens on a map; values beyond its lower or right border are constant."""

    halo: Tensor | None

    def __init__(self, convolution: nn.Conv2d, size: _Size) -> None:
        super().__init__()
        self.convolution = convolution
        self.height, self.width = size
        self.below = False
        self.register_buffer("halo", None)

    def surround(self, whole: Tensor) -> None:
        """Take the halo from the whole map, shape (1, channels, height, width); none if this map is the whole."""
        height, width = whole.shape[2:]
        self.below = self.height < height
        if self.below:
            self.halo = whole[:, :, self.height : self.height + 1]
        elif self.width < width:
            self.halo = whole[:, :, :, self.width : self.width + 1]

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape (1, height * width, channels) to (1, channels, height, width)."""
        picture = _map(tokens, (self.height, self.width))
        if self.halo is None:
            whole: Tensor = self.convolution(picture)
            return whole
        picture = torch.cat((picture, self.halo), dim=2 if self.below else 3)
        # Zeros at the other three sides: left, right, above, below.
        padded = functional.pad(picture, (1, 1, 1, 0) if self.below else (1, 0, 1, 1))
        return functional.conv2d(padded, self.convolution.weight, self.convolution.bias, groups=self.convolution.groups)


class WindowBlock(nn.Module):
    """A transformer block of TinyViT: window attention, a depth-wise convolution, a perceptron."""

    def __init__(self, block: Any, size: _Size) -> None:
        super().__init__()
        self.attention = WindowAttention(block, size)
        self.local = HaloConvolution(block.local_conv.fuse(), size)
        self.norm, self.expand, self.contract = block.mlp.norm, block.mlp.fc1, block.mlp.fc2

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape (1, height * width, channels) to the same."""
        tokens = tokens + self.attention(tokens)
        tokens = _tokens(self.local(tokens))
        mixed: Tensor = self.contract(functional.gelu(self.expand(self.norm(tokens))))
        return tokens + mixed


class Halving(nn.Module):
    """Halves rows and columns between two stages."""

    def __init__(self, reduction: Any, size: _Size) -> None:
        """Take timm's `PatchMerging` for a map of `size` (height, width) tokens."""
        super().__init__()
        self.size = size
        self.reduction = _folded(reduction)

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape (1, height * width, channels) to (1, height * width / 4, more channels)."""
        return _tokens(self.reduction(_map(tokens, self.size)))


class Widening(nn.Module):
    """Adds channels but keeps all tokens, before the last stage of SAM's encoder."""

    def __init__(self, reduction: Any, size: _Size) -> None:
        super().__init__()
        self.expand, self.project = (_linear(*_flat(part.fuse())) for part in (reduction.conv1, reduction.conv3))
        self.local = HaloConvolution(reduction.conv2.fuse(), size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape (1, height * width, channels) to (1, height * width, more channels)."""
        local = _tokens(self.local(functional.gelu(self.expand(tokens))))
        widened: Tensor = self.project(functional.gelu(local))
        return widened


class Neck(nn.Module):
    """SAM's neck, on tokens."""

    def __init__(self, neck: Any, size: _Size) -> None:
        super().__init__()
        narrow, first_norm, mix, last_norm = neck
        self.narrow = _linear(narrow.weight.flatten(1), None)
        self.first_norm, self.last_norm = _last_axis(first_norm), _last_axis(last_norm)
        self.mix = HaloConvolution(mix, size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape (1, height * width, channels) to (1, height * width, 256)."""
        narrowed = self.first_norm(self.narrow(tokens))
        features: Tensor = self.last_norm(_tokens(self.mix(narrowed)))
        return features


class FrameEncoder(nn.Module):
    """Encodes the computed part of the input to the features of the whole input."""

    beyond: Tensor | None

    def __init__(self, network: SamNetwork, grid: InputGrid) -> None:
        """Copy the weights of MobileSAM for one grid, on the CPU in float32."""
        super().__init__()
        encoder: Any = copy.deepcopy(network.image_encoder)
        self.grid = grid
        fine, coarse = (2 * grid.rows, 2 * grid.columns), (grid.rows, grid.columns)
        first, second, third, fourth = encoder.stages
        self.convolutions = nn.Sequential(*(_folded(part) for part in (encoder.patch_embed, first, second.downsample)))
        self.transformer = nn.Sequential(
            *(WindowBlock(block, fine) for block in second.blocks),
            Halving(third.downsample, fine),
            *(WindowBlock(block, coarse) for block in third.blocks),
            Widening(fourth.downsample, coarse),
            *(WindowBlock(block, coarse) for block in fourth.blocks),
        )
        self.neck = Neck(encoder.neck, coarse)
        self.register_buffer("beyond", None)
        if min(grid.rows, grid.columns) < grid.side:
            self._surround(network)
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode normalised RGB, (1, 3, grid.height, grid.width), to features, (1, grid.side * grid.side, 256)."""
        # Drop what only the convolutions needed.
        fine = self.convolutions(pixels)[:, :, : 2 * self.grid.rows, : 2 * self.grid.columns]
        features: Tensor = self.neck(self.transformer(_tokens(fine)))
        if self.beyond is None:
            return features
        if self.grid.columns == self.grid.side:
            return torch.cat((features, self.beyond), dim=1)
        rows = torch.cat((features.view(1, self.grid.rows, self.grid.columns, -1), self.beyond), dim=2)
        return rows.flatten(1, 2)

    @torch.no_grad()
    def _surround(self, network: SamNetwork) -> None:
        """Compute the features of a blank input beyond this encoder's grid."""
        side, rows, columns = self.grid.side, self.grid.rows, self.grid.columns
        whole = FrameEncoder(network, InputGrid(side, side, side))
        inner, outer = self._border_modules(), whole._border_modules()
        for ours, theirs in zip(inner, outer, strict=True):
            theirs.register_forward_pre_hook(
                lambda module, given, ours=ours: ours.surround(_map(given[0], (module.height, module.width)))
            )
        blank = whole(torch.zeros(1, 3, whole.grid.height, whole.grid.width)).view(1, side, side, -1)
        self.beyond = blank[:, rows:].flatten(1, 2) if columns == side else blank[:, :, columns:]

    def _border_modules(self) -> Sequence[HaloConvolution | WindowAttention]:
        """The modules that read beyond the border."""
        return [module for module in self.modules() if isinstance(module, HaloConvolution | WindowAttention)]


def _tokens(features: Tensor) -> Tensor:
    """Shape (1, channels, height, width) to (1, height * width, channels)."""
    # In this order of steps the runtimes move no data; with flatten before transpose, they do.
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def _map(tokens: Tensor, size: _Size) -> Tensor:
    """Shape (1, height * width, channels) to (1, channels, height, width)."""
    return tokens.view(1, *size, -1).permute(0, 3, 1, 2)


def _folded(module: Any) -> nn.Module:
    """Fold each batch norm of a timm module into its convolution."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "fuse"):
                setattr(parent, name, child.fuse())
    folded: nn.Module = module
    return folded


def _flat(convolution: nn.Conv2d) -> tuple[Tensor, Tensor | None]:
    """The weights of a 1x1 convolution as those of a linear layer."""
    return convolution.weight.flatten(1), convolution.bias


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.weight = nn.Parameter(weight.detach())
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach())
    return linear


def _last_axis(norm: Any) -> nn.LayerNorm:
    """Convert a norm over a map's channels to one over tokens' channels."""
    plain = nn.LayerNorm(FEATURE_CHANNELS, eps=norm.eps)
    plain.weight, plain.bias = norm.weight, norm.bias
    return plain
