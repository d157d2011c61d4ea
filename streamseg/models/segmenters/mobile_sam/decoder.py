"""SAM's mask decoder for boxes: the same function with less work (arXiv:2304.02643, appendix A).

Two things make it cheap. What does not depend on the box is computed once a frame (`FrameTerms`). And a box has seven
tokens, the image thousands, so in cross-attention the image's linear projections are applied to the tokens instead:
projecting each cell and multiplying it by a token equals multiplying each cell by a projected token.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamseg.models.segmenters.mobile_sam.input_grid import CELL
from streamseg.models.segmenters.sam.image_encoder import FEATURE_CHANNELS
from streamseg.models.segmenters.sam.mask_decoder import Attention, TwoWayBlock, select_masks
from streamseg.models.segmenters.sam.network import SamNetwork
from streamseg.models.segmenters.sam.prompt_encoder import PositionEncoding

_HEADS = 8
_OUTPUTS = 5
"""Output tokens, which come first: one for the predicted IoU, four for masks."""
_CORNERS = slice(2, 4)
"""Kinds of a box's corners among the prompt encoder's point embeddings."""


class FrameTerms(nn.Module):
    """The part of the decoder that does not depend on the box."""

    positions: Tensor

    def __init__(self, network: SamNetwork, grid: int) -> None:
        """Take the weights of `network`, for features of `grid` x `grid` cells."""
        super().__init__()
        first = cast(TwoWayBlock, network.mask_decoder.transformer.layers[0])
        self.no_mask = network.prompt_encoder.no_mask_embed.weight
        self.keys, self.values = first.cross_attn_token_to_image.k_proj, first.cross_attn_token_to_image.v_proj
        self.queries = first.cross_attn_image_to_token.q_proj
        self.register_buffer("positions", _cell_positions(network.prompt_encoder.pe_layer, grid))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Prepare features of shape (1, cells, 256), row by row, for decoding boxes.

        Returns:
            The image, shape (1, cells, 256), and the first block's projections of it by head: keys (8, 16, cells),
            values (8, cells, 16) and queries (8, 16, cells).
        """
        image = features + self.no_mask
        located = image + self.positions
        keys, values, queries = (
            _split_heads(part) for part in (self.keys(located), self.values(image), self.queries(located))
        )
        return image, keys[0].transpose(1, 2), values[0], queries[0].transpose(1, 2)


class BoxDecoder(nn.Module):
    """The rest of the decoder, for a batch of boxes: one mask each, as `select_masks` chooses it."""

    corner_kinds: Tensor
    output_tokens: Tensor
    positions: Tensor

    def __init__(self, network: SamNetwork, grid: int, rows: int, columns: int) -> None:
        """Take the weights of `network`.

        Args:
            network: MobileSAM's or SAM's.
            grid: Side of the features in cells.
            rows: Rows of cells, from the top, that hold the picture; masks are decoded only there.
            columns: Columns of cells, from the left, that hold the picture.
        """
        super().__init__()
        self.grid, self.rows, self.columns = grid, rows, columns
        prompts, decoder = network.prompt_encoder, network.mask_decoder
        self.encoding = prompts.pe_layer
        self.register_buffer("corner_kinds", torch.cat(list(prompts.point_embeddings.parameters()))[_CORNERS])
        self.register_buffer("output_tokens", torch.cat((decoder.iou_token.weight, decoder.mask_tokens.weight)))
        self.register_buffer("positions", _cell_positions(self.encoding, grid))
        first, second = (cast(TwoWayBlock, block) for block in decoder.transformer.layers)
        self.first, self.second = _Block(first), _Block(second)
        self.last = _TokensToImage(decoder.transformer.final_attn_token_to_image)
        self.last_norm = decoder.transformer.norm_final_attn
        self.drawing = _Drawing(decoder.output_upscaling)
        self.kernels = decoder.output_hypernetworks_mlps
        self.iou = decoder.iou_prediction_head

    def forward(
        self, boxes: Tensor, image: Tensor, keys: Tensor, values: Tensor, queries: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decode boxes.

        Args:
            boxes: Shape (n, 4): left, top, right, bottom in pixels of the network's input.
            image: As `FrameTerms` returns it, like the other three.
            keys: See `FrameTerms.forward`.
            values: See `FrameTerms.forward`.
            queries: See `FrameTerms.forward`.

        Returns:
            Logits, shape (n, 4 * rows, 4 * columns), and predicted IoU, shape (n,).
        """
        start = self._tokens(boxes)
        # Here the tokens equal their own positions, and SAM was trained without the residual.
        tokens = self.first.norm1(self.first.self_attn(start, start, start))
        tokens = self.first.norm2(tokens + self.first.to_image.attend_projected(tokens + start, keys, values))
        tokens = self.first.norm3(tokens + self.first.mlp(tokens))
        image = self.first.norm4(image + self.first.to_tokens.attend_projected(queries, tokens + start, tokens))

        located = image + self.positions
        tokens = self.second.norm1(tokens + self.second.self_attn(tokens + start, tokens + start, tokens))
        tokens = self.second.norm2(tokens + self.second.to_image(tokens + start, located, image))
        tokens = self.second.norm3(tokens + self.second.mlp(tokens))
        image = self.second.norm4(image + self.second.to_tokens(located, tokens + start, tokens))

        # Only the output tokens are used from here on.
        tokens, start = tokens[:, :_OUTPUTS], start[:, :_OUTPUTS]
        tokens = self.last_norm(tokens + self.last(tokens + start, image + self.positions, image))
        predicted_iou = self.iou(tokens[:, 0])
        kernels = torch.stack([kernel(tokens[:, index]) for index, kernel in enumerate(self.kernels, 1)], dim=1)
        # Only the selected mask is decoded.
        selected = torch.arange(boxes.shape[0], device=boxes.device), select_masks(predicted_iou)
        shown = torch.unflatten(image, 1, (self.grid, self.grid))[:, : self.rows, : self.columns]
        return self.drawing(shown, kernels[selected]), predicted_iou[selected]

    def _tokens(self, boxes: Tensor) -> Tensor:
        corners = self.encoding((boxes.view(-1, 2, 2) + 0.5) / (self.grid * CELL)) + self.corner_kinds
        return torch.cat((self.output_tokens.expand(boxes.shape[0], -1, -1), corners), dim=1)


class _Block(nn.Module):
    """A block of the two-way transformer."""

    def __init__(self, block: TwoWayBlock) -> None:
        super().__init__()
        self.self_attn, self.mlp = block.self_attn, block.mlp
        self.norm1, self.norm2, self.norm3, self.norm4 = block.norm1, block.norm2, block.norm3, block.norm4
        self.to_image = _TokensToImage(block.cross_attn_token_to_image)
        self.to_tokens = _ImageToTokens(block.cross_attn_image_to_token)


class _TokensToImage(nn.Module):
    """Attention of n tokens to the image."""

    key_weights: Tensor
    value_weights: Tensor
    value_bias: Tensor

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.queries, self.output = attention.q_proj, attention.out_proj
        self.scale = 1 / math.sqrt(attention.q_proj.out_features // _HEADS)
        # The keys' bias shifts all scores of a token equally, which the softmax cancels.
        self.register_buffer("key_weights", _by_head(attention.k_proj.weight) * self.scale)
        self.register_buffer("value_weights", _by_head(attention.v_proj.weight).transpose(1, 2).contiguous())
        self.register_buffer("value_bias", attention.v_proj.bias)

    def forward(self, tokens: Tensor, located: Tensor, image: Tensor) -> Tensor:
        """Attend to the image with positions, shape (batch, cells, 256); values are the image without, same shape."""
        queries = (_split_heads(self.queries(tokens)) @ self.key_weights).flatten(1, 2)
        scores = queries @ located.transpose(1, 2)
        # A softmax that divides last: OpenVINO fuses the plain one with both products into a kernel 50 % slower.
        weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
        mixed = (weights @ image) / weights.sum(dim=-1, keepdim=True)
        attended = torch.unflatten(mixed, 1, (_HEADS, -1)) @ self.value_weights
        # A token's weights sum to one, so the values' bias is added unchanged.
        output: Tensor = self.output(_join_heads(attended) + self.value_bias)
        return output

    def attend_projected(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attend with projected keys, shape (8, channels, cells), and values, (8, cells, channels)."""
        weights = ((_split_heads(self.queries(tokens)) * self.scale) @ keys).softmax(dim=-1)
        output: Tensor = self.output(_join_heads(weights @ values))
        return output


class _ImageToTokens(nn.Module):
    """Attention of the image to n tokens."""

    query_weights: Tensor
    query_bias: Tensor
    output_weights: Tensor
    output_bias: Tensor

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.keys, self.values = attention.k_proj, attention.v_proj
        self.scale = 1 / math.sqrt(attention.k_proj.out_features // _HEADS)
        self.register_buffer("query_weights", _by_head(attention.q_proj.weight) * self.scale)
        self.register_buffer("query_bias", _by_head(attention.q_proj.bias).unsqueeze(2) * self.scale)
        self.register_buffer("output_weights", _by_head(attention.out_proj.weight.t()).contiguous())
        self.register_buffer("output_bias", attention.out_proj.bias)

    def forward(self, located: Tensor, keys: Tensor, tokens: Tensor) -> Tensor:
        """Attend from the image with positions, shape (batch, cells, 256)."""
        projected = _split_heads(self.keys(keys))
        scores = (projected @ self.query_weights).flatten(1, 2) @ located.transpose(1, 2)
        return self._blend(torch.unflatten(scores, 1, (_HEADS, -1)) + projected @ self.query_bias, tokens)

    def attend_projected(self, queries: Tensor, keys: Tensor, tokens: Tensor) -> Tensor:
        """Attend from projected queries of the image, shape (8, channels, cells)."""
        return self._blend((_split_heads(self.keys(keys)) * self.scale) @ queries, tokens)

    def _blend(self, scores: Tensor, tokens: Tensor) -> Tensor:
        """Apply scores of shape (batch, 8, n, cells); with the cells last, no runtime works along a short axis."""
        weights = scores.softmax(dim=2).flatten(1, 2)
        values = (_split_heads(self.values(tokens)) @ self.output_weights).flatten(1, 2)
        return weights.transpose(1, 2) @ values + self.output_bias


class _Drawing(nn.Module):
    """Decodes logits at four times the cells' resolution.

    A transposed convolution whose kernel equals its stride makes four new cells of each one without its neighbours, so
    it is a linear layer. The new cells stay beside the old one until only the mask is left, so nothing large is
    rearranged.
    """

    def __init__(self, upscaling: nn.Sequential) -> None:
        super().__init__()
        first, norm, _, second, _ = upscaling
        self.first, self.second = (
            _as_linear(cast(nn.ConvTranspose2d, first)),
            _as_linear(cast(nn.ConvTranspose2d, second)),
        )
        self.norm = nn.LayerNorm(FEATURE_CHANNELS // 4, eps=cast(nn.LayerNorm, norm).eps)
        self.norm.load_state_dict(norm.state_dict())

    def forward(self, image: Tensor, kernel: Tensor) -> Tensor:
        """Decode cells, (batch, rows, columns, 256), and kernels, (batch, 32), to (batch, 4 * rows, 4 * columns)."""
        batch, rows, columns = image.shape[:3]
        finer = functional.gelu(self.norm(self.first(image.flatten(1, 2)).view(batch, rows * columns * 4, -1)))
        finest = functional.gelu(self.second(finer)).view(batch, rows * columns * 16, -1)
        logits = (finest @ kernel.unsqueeze(2)).view(batch, rows, columns, 2, 2, 2, 2)
        return logits.permute(0, 1, 3, 5, 2, 4, 6).reshape(batch, 4 * rows, 4 * columns)


def _as_linear(convolution: nn.ConvTranspose2d) -> nn.Linear:
    """Convert a transposed convolution with kernel and stride 2; outputs are four cells' channels, row by row."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    linear.bias = nn.Parameter(cast(Tensor, convolution.bias).repeat(4), requires_grad=False)
    return linear


def _cell_positions(encoding: PositionEncoding, grid: int) -> Tensor:
    """Encode the position of each cell, shape (1, cells, 256)."""
    centres = (torch.arange(grid) + 0.5) / grid
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    positions: Tensor = encoding(torch.stack((x, y), dim=-1))
    return positions.view(1, grid * grid, FEATURE_CHANNELS)


def _split_heads(projected: Tensor) -> Tensor:
    """Shape (batch, n, channels) to (batch, 8, n, channels / 8)."""
    return torch.unflatten(projected, 2, (_HEADS, -1)).transpose(1, 2)


def _join_heads(attended: Tensor) -> Tensor:
    """The inverse of `_split_heads`."""
    return attended.transpose(1, 2).flatten(2)


def _by_head(weights: Tensor) -> Tensor:
    """Shape (channels, ...) to (8, channels / 8, ...)."""
    return torch.unflatten(weights, 0, (_HEADS, -1))
