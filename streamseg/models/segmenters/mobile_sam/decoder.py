"""SAM's mask decoder for boxes, with the same numbers for less work (arXiv:2304.02643, appendix A).

Two things make it cheap. What does not depend on the box is computed once a frame (`FrameTerms`). And a box has seven tokens, the
image thousands, so that where tokens and image meet, the image's linear projections are moved to the tokens' side: what a
projection and a product with a token do to every cell of the image, one product with a projected token does as well.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamseg.models.segmenters.mobile_sam.input_grid import CELL
from streamseg.models.segmenters.sam.image_encoder import FEATURE_CHANNELS
from streamseg.models.segmenters.sam.mask_decoder import Attention, TwoWayBlock, answering_masks
from streamseg.models.segmenters.sam.network import SamNetwork
from streamseg.models.segmenters.sam.prompt_encoder import PositionEncoding

_HEADS = 8
_OUTPUTS = 5
"""How many tokens make the answer: the predicted IoU's and four masks'. They are the first."""
_CORNERS = slice(2, 4)
"""Which of the prompt encoder's kinds of points a box's corners are."""


class FrameTerms(nn.Module):
    """What the decoder knows of a picture before it knows a box."""

    positions: Tensor

    def __init__(self, network: SamNetwork, grid: int) -> None:
        """Take the weights of `network` for features of `grid` cells a side."""
        super().__init__()
        first = cast(TwoWayBlock, network.mask_decoder.transformer.layers[0])
        self.no_mask = network.prompt_encoder.no_mask_embed.weight
        self.keys, self.values = first.cross_attn_token_to_image.k_proj, first.cross_attn_token_to_image.v_proj
        self.queries = first.cross_attn_image_to_token.q_proj
        self.register_buffer("positions", _cell_positions(network.prompt_encoder.pe_layer, grid))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Prepare features of shape (1, cells, 256), the cells row by row, for boxes.

        Returns:
            The image, shape (1, cells, 256), and the first block's projections of it: keys (8, 16, cells), values (8, cells, 16)
            and queries (8, 16, cells), by head.
        """
        image = features + self.no_mask
        located = image + self.positions
        keys, values, queries = (
            _split_heads(part) for part in (self.keys(located), self.values(image), self.queries(located))
        )
        return image, keys[0].transpose(1, 2), values[0], queries[0].transpose(1, 2)


class BoxDecoder(nn.Module):
    """The rest of the decoder, for a batch of boxes: one mask each, that of `answering_masks`."""

    corner_kinds: Tensor
    output_tokens: Tensor
    positions: Tensor

    def __init__(self, network: SamNetwork, grid: int, rows: int, columns: int) -> None:
        """Take the weights of `network`.

        Args:
            network: MobileSAM's or SAM's.
            grid: Cells of the features a side.
            rows: How many of the cells' rows, from the top, hold the picture; only they are drawn.
            columns: How many of the columns, from the left.
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
        """Answer boxes.

        Args:
            boxes: Shape (n, 4): left, top, right, bottom in pixels of the network's input.
            image: With the other three what `FrameTerms` made.
            keys: See there.
            values: See there.
            queries: See there.

        Returns:
            Logits, shape (n, 4 * rows, 4 * columns), and predicted IoU, shape (n,).
        """
        start = self._tokens(boxes)
        # The tokens are still their own positions here, and SAM was trained without the residual.
        tokens = self.first.norm1(self.first.self_attn(start, start, start))
        tokens = self.first.norm2(tokens + self.first.to_image.attend_projected(tokens + start, keys, values))
        tokens = self.first.norm3(tokens + self.first.mlp(tokens))
        image = self.first.norm4(image + self.first.to_tokens.attend_projected(queries, tokens + start, tokens))

        located = image + self.positions
        tokens = self.second.norm1(tokens + self.second.self_attn(tokens + start, tokens + start, tokens))
        tokens = self.second.norm2(tokens + self.second.to_image(tokens + start, located, image))
        tokens = self.second.norm3(tokens + self.second.mlp(tokens))
        image = self.second.norm4(image + self.second.to_tokens(located, tokens + start, tokens))

        # The tokens of the predicted IoU and of the masks: nobody reads the corners' any more.
        tokens, start = tokens[:, :_OUTPUTS], start[:, :_OUTPUTS]
        tokens = self.last_norm(tokens + self.last(tokens + start, image + self.positions, image))
        predicted_iou = self.iou(tokens[:, 0])
        kernels = torch.stack([kernel(tokens[:, index]) for index, kernel in enumerate(self.kernels, 1)], dim=1)
        # Only the mask that answers is drawn.
        answering = torch.arange(boxes.shape[0], device=boxes.device), answering_masks(predicted_iou)
        shown = torch.unflatten(image, 1, (self.grid, self.grid))[:, : self.rows, : self.columns]
        return self.drawing(shown, kernels[answering]), predicted_iou[answering]

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
        # The keys' bias moves all of a token's scores alike, which the softmax does not see.
        self.register_buffer("key_weights", _by_head(attention.k_proj.weight) * self.scale)
        self.register_buffer("value_weights", _by_head(attention.v_proj.weight).transpose(1, 2).contiguous())
        self.register_buffer("value_bias", attention.v_proj.bias)

    def forward(self, tokens: Tensor, located: Tensor, image: Tensor) -> Tensor:
        """Attend to the image with positions, shape (batch, cells, 256), for what the image has there, the same shape."""
        queries = (_split_heads(self.queries(tokens)) @ self.key_weights).flatten(1, 2)
        scores = queries @ located.transpose(1, 2)
        # A softmax that divides at the end. OpenVINO puts the plain one and both products into one kernel, which takes half as long again.
        weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
        mixed = (weights @ image) / weights.sum(dim=-1, keepdim=True)
        attended = torch.unflatten(mixed, 1, (_HEADS, -1)) @ self.value_weights
        # A token's weights sum to one, so that the values' bias arrives whole.
        output: Tensor = self.output(_join_heads(attended) + self.value_bias)
        return output

    def attend_projected(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The same from keys, shape (8, channels, cells), and values, (8, cells, channels)."""
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
        """The same from the image's queries, shape (8, channels, cells)."""
        return self._blend((_split_heads(self.keys(keys)) * self.scale) @ queries, tokens)

    def _blend(self, scores: Tensor, tokens: Tensor) -> Tensor:
        """From scores of shape (batch, 8, n, cells): along the cells there is no short axis to be slow on."""
        weights = scores.softmax(dim=2).flatten(1, 2)
        values = (_split_heads(self.values(tokens)) @ self.output_weights).flatten(1, 2)
        return weights.transpose(1, 2) @ values + self.output_bias


class _Drawing(nn.Module):
    """Logits at four times the cells' resolution.

    A transposed convolution whose kernel is as large as its stride gives every cell four new ones and knows no neighbours: a linear
    layer. The new cells stay beside the old one until there is only the mask, so that nothing large is rearranged.
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
        """Cells of shape (batch, rows, columns, 256) and kernels of shape (batch, 32) to logits, (batch, 4 * rows, 4 * columns)."""
        batch, rows, columns = image.shape[:3]
        finer = functional.gelu(self.norm(self.first(image.flatten(1, 2)).view(batch, rows * columns * 4, -1)))
        finest = functional.gelu(self.second(finer)).view(batch, rows * columns * 16, -1)
        logits = (finest @ kernel.unsqueeze(2)).view(batch, rows, columns, 2, 2, 2, 2)
        return logits.permute(0, 1, 3, 5, 2, 4, 6).reshape(batch, 4 * rows, 4 * columns)


def _as_linear(convolution: nn.ConvTranspose2d) -> nn.Linear:
    """A transposed convolution with kernel and stride 2; the outputs are the four new cells, row by row, each with its channels."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    linear.bias = nn.Parameter(cast(Tensor, convolution.bias).repeat(4), requires_grad=False)
    return linear


def _cell_positions(encoding: PositionEncoding, grid: int) -> Tensor:
    """The encoded position of each cell, shape (1, cells, 256)."""
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
