"""SAM's mask decoder (arXiv:2304.02643, appendix A): a two-way transformer between prompt tokens and image features."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from streamseg.models.segmenters.sam.image_encoder import FEATURE_CHANNELS

_DEPTH = 2
_HEADS = 8
_MLP_CHANNELS = 2048
_MASK_TOKENS = 4
"""One mask for clear prompts, then three for ambiguous ones."""
_MASK_CHANNELS = FEATURE_CHANNELS // 8
POOR_IOU = 0.7
"""Predicted IoU below which the mask for a clear prompt is poor.

The decoder is trained to predict each mask's IoU with the object, so a mask below this is expected to be wrong on at
least three tenths of their union: the prompt was hardly clear. A threshold as high as good masks score (everything mode
keeps those above 0.88) would switch masks for differences within the prediction's own error, which the best of several
scores overstates.
"""


def select_masks(predicted_iou: Tensor) -> Tensor:
    """Select a mask for each prompt: the one for clear prompts or, if that is poor, the best-scored of all.

    Args:
        predicted_iou: Shape (batch, 4), that of the mask for clear prompts first.

    Returns:
        Indices from 0 to 3, shape (batch,).
    """
    return torch.where(predicted_iou[:, 0] < POOR_IOU, predicted_iou.argmax(dim=1), 0)


class Attention(nn.Module):
    """Multi-head attention whose projections may have fewer channels than its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(FEATURE_CHANNELS, channels)
        self.k_proj = nn.Linear(FEATURE_CHANNELS, channels)
        self.v_proj = nn.Linear(FEATURE_CHANNELS, channels)
        self.out_proj = nn.Linear(channels, FEATURE_CHANNELS)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from `q`, shape (batch, n, 256), to `k` and `v`, shape (batch, m, 256); a batch of 1 is broadcast."""
        query, key, value = _split_heads(self.q_proj(q)), _split_heads(self.k_proj(k)), _split_heads(self.v_proj(v))
        weights = (query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])).softmax(dim=-1)
        attended: Tensor = self.out_proj((weights @ value).transpose(1, 2).flatten(2))
        return attended


def _split_heads(projected: Tensor) -> Tensor:
    return projected.view(*projected.shape[:2], _HEADS, -1).transpose(1, 2)


class TokenMlp(nn.Module):
    """The transformer's two-layer perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.lin1 = nn.Linear(FEATURE_CHANNELS, _MLP_CHANNELS)
        self.lin2 = nn.Linear(_MLP_CHANNELS, FEATURE_CHANNELS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape (batch, tokens, 256) to the same."""
        mixed: Tensor = self.lin2(self.lin1(tokens).relu())
        return mixed


class TwoWayBlock(nn.Module):
    """Tokens attend to themselves and to the image, then the image attends to the tokens."""

    def __init__(self, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(FEATURE_CHANNELS)
        self.norm1 = nn.LayerNorm(FEATURE_CHANNELS)
        self.cross_attn_token_to_image = Attention(FEATURE_CHANNELS // 2)
        self.norm2 = nn.LayerNorm(FEATURE_CHANNELS)
        self.mlp = TokenMlp()
        self.norm3 = nn.LayerNorm(FEATURE_CHANNELS)
        self.cross_attn_image_to_token = Attention(FEATURE_CHANNELS // 2)
        self.norm4 = nn.LayerNorm(FEATURE_CHANNELS)

    def forward(
        self, tokens: Tensor, image: Tensor, token_positions: Tensor, image_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update both sides.

        Args:
            tokens: Shape (batch, tokens, 256).
            image: Shape (batch or 1, 4096, 256).
            token_positions: The tokens as they entered the transformer, shape (batch, tokens, 256).
            image_positions: Shape (1, 4096, 256).
        """
        if self.first:
            # Here the tokens equal their own positions, and SAM was trained without the residual.
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            located = tokens + token_positions
            tokens = self.norm1(tokens + self.self_attn(located, located, tokens))
        located_image = image + image_positions
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_positions, located_image, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(located_image, tokens + token_positions, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """The blocks, and a last attention from tokens to image."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(first=index == 0) for index in range(_DEPTH))
        self.final_attn_token_to_image = Attention(FEATURE_CHANNELS // 2)
        self.norm_final_attn = nn.LayerNorm(FEATURE_CHANNELS)

    def forward(self, tokens: Tensor, image: Tensor, image_positions: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes as in `TwoWayBlock`; the returned image has the whole batch."""
        token_positions = tokens
        for block in self.layers:
            tokens, image = block(tokens, image, token_positions, image_positions)
        attended = self.final_attn_token_to_image(tokens + token_positions, image + image_positions, image)
        return self.norm_final_attn(tokens + attended), image


class Mlp(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, output_channels: int) -> None:
        super().__init__()
        channels = (FEATURE_CHANNELS, FEATURE_CHANNELS, FEATURE_CHANNELS, output_channels)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(channels))

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape (batch, 256) to (batch, output channels)."""
        for layer in self.layers[:-1]:
            tokens = layer(tokens).relu()
        output: Tensor = self.layers[-1](tokens)
        return output


class MaskDecoder(nn.Module):
    """Decodes masks and their predicted IoU from image features and embedded prompts."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer()
        self.iou_token = nn.Embedding(1, FEATURE_CHANNELS)
        self.mask_tokens = nn.Embedding(_MASK_TOKENS, FEATURE_CHANNELS)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(FEATURE_CHANNELS, FEATURE_CHANNELS // 4, kernel_size=2, stride=2),
            LayerNorm2d(FEATURE_CHANNELS // 4),
            nn.GELU(),
            nn.ConvTranspose2d(FEATURE_CHANNELS // 4, _MASK_CHANNELS, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Mlp(_MASK_CHANNELS) for _ in range(_MASK_TOKENS))
        self.iou_prediction_head = Mlp(_MASK_TOKENS)

    def forward(
        self, features: Tensor, positions: Tensor, tokens: Tensor, prompt_map: Tensor, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Decode a batch of prompts on one image.

        Args:
            features: The image's, shape (1, 256, 64, 64).
            positions: The encoded positions of the features, shape (1, 256, 64, 64).
            tokens: The prompts', shape (batch, tokens, 256).
            prompt_map: Added to the features, broadcastable to (batch, 256, 64, 64).
            multimask: Whether to return the three masks for ambiguous prompts instead of the one for clear prompts.

        Returns:
            Logits of shape (batch, 1 or 3, 256, 256) over the padded input, and predicted IoU of shape (batch, 1 or 3).
        """
        wanted = slice(1, None) if multimask else slice(0, 1)
        outputs = torch.cat((self.iou_token.weight, self.mask_tokens.weight)).expand(len(tokens), -1, -1)
        # The image enters as a batch of one: it is the same for every prompt until the tokens first change it.
        image = (features + prompt_map).flatten(2).transpose(1, 2)
        tokens, image = self.transformer(
            torch.cat((outputs, tokens), dim=1), image, positions.flatten(2).transpose(1, 2)
        )
        upscaled = self.output_upscaling(image.transpose(1, 2).unflatten(2, features.shape[2:]))
        mask_tokens = tokens[:, 1 : 1 + _MASK_TOKENS]
        kernels = [mlp(mask_tokens[:, index]) for index, mlp in enumerate(self.output_hypernetworks_mlps)][wanted]
        logits = (torch.stack(kernels, dim=1) @ upscaled.flatten(2)).unflatten(2, upscaled.shape[2:])
        return logits, self.iou_prediction_head(tokens[:, 0])[:, wanted]
