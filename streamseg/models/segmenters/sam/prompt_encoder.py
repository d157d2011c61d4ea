"""SAM's prompt encoder (arXiv:2304.02643, appendix A): embeds boxes, points and masks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from streamseg.models.segmenters.sam.image_encoder import FEATURE_CHANNELS, FEATURE_SIZE, INPUT_SIZE

BACKGROUND_POINT = 0
FOREGROUND_POINT = 1
NO_POINT = -1
"""Label of a padding point."""

_TOP_LEFT_CORNER = 2
_BOTTOM_RIGHT_CORNER = 3
_MASK_CHANNELS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Prompts for a batch of objects; coordinates are pixels of the resized picture (longer side 1024).

    Attributes:
        boxes: Shape (batch, 4): left, top, right, bottom.
        points: Shape (batch, points, 2): x, y.
        labels: Shape (batch, points): `FOREGROUND_POINT`, `BACKGROUND_POINT` or `NO_POINT` for each point.
        masks: Shape (batch, 1, 256, 256): logits of an earlier prediction.
    """

    boxes: Tensor | None = None
    points: Tensor | None = None
    labels: Tensor | None = None
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        given = [tensor for tensor in (self.boxes, self.points, self.labels, self.masks) if tensor is not None]
        if len({tensor.shape[0] for tensor in given}) > 1:
            raise ValueError(
                f"prompts must all have one batch size, not the shapes {[tuple(tensor.shape) for tensor in given]}"
            )
        if (self.points is None) != (self.labels is None):
            raise ValueError("points and labels must be given together")

    @property
    def batch(self) -> int:
        """Number of objects; one without prompts."""
        return next((tensor.shape[0] for tensor in (self.boxes, self.points, self.masks) if tensor is not None), 1)

    def split(self, size: int) -> Iterator[Prompts]:
        """Split into batches of at most `size` objects, in order."""
        for start in range(0, self.batch, size):
            boxes, points, labels, masks = (
                None if tensor is None else tensor[start : start + size]
                for tensor in (self.boxes, self.points, self.labels, self.masks)
            )
            yield Prompts(boxes, points, labels, masks)


class PositionEncoding(nn.Module):
    """Random Fourier features of positions, sines first."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(2, FEATURE_CHANNELS // 2))

    def forward(self, positions: Tensor) -> Tensor:
        """Encode positions of shape (..., 2), x and y from 0 to 1 over the padded input, to shape (..., 256)."""
        angles = 2 * math.pi * ((2 * positions - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat((angles.sin(), angles.cos()), dim=-1)


class PromptEncoder(nn.Module):
    """Embeds boxes and points as tokens, and masks as a map that is added to the image's features."""

    def __init__(self) -> None:
        super().__init__()
        self.pe_layer = PositionEncoding()
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, FEATURE_CHANNELS) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, FEATURE_CHANNELS)
        self.no_mask_embed = nn.Embedding(1, FEATURE_CHANNELS)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, _MASK_CHANNELS // 4, kernel_size=2, stride=2),
            LayerNorm2d(_MASK_CHANNELS // 4),
            nn.GELU(),
            nn.Conv2d(_MASK_CHANNELS // 4, _MASK_CHANNELS, kernel_size=2, stride=2),
            LayerNorm2d(_MASK_CHANNELS),
            nn.GELU(),
            nn.Conv2d(_MASK_CHANNELS, FEATURE_CHANNELS, kernel_size=1),
        )

    def forward(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Embed prompts.

        Returns:
            Tokens of shape (batch, tokens, 256), the points' before the boxes'; and the map, of shape (batch, 256, 64,
            64) with masks, (1, 256, 1, 1) without.
        """
        if prompts.masks is None:
            return self._tokens(prompts), self.no_mask_embed.weight.view(1, FEATURE_CHANNELS, 1, 1)
        return self._tokens(prompts), self.mask_downscaling(prompts.masks)

    def image_positions(self) -> Tensor:
        """Encode the position of each feature of the image, shape (1, 256, 64, 64)."""
        centres = (torch.arange(FEATURE_SIZE, device=self.no_mask_embed.weight.device) + 0.5) / FEATURE_SIZE
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        positions: Tensor = self.pe_layer(torch.stack((x, y), dim=-1))
        return positions.permute(2, 0, 1).unsqueeze(0)

    def _tokens(self, prompts: Prompts) -> Tensor:
        points, labels = _as_points(prompts, self.no_mask_embed.weight.device)
        encoded: Tensor = self.pe_layer((points + 0.5) / INPUT_SIZE)
        kinds = torch.cat((self.not_a_point_embed.weight, *self.point_embeddings.parameters()))
        return encoded.masked_fill((labels == NO_POINT).unsqueeze(-1), 0.0) + kinds[labels + 1]


def _as_points(prompts: Prompts, device: torch.device) -> tuple[Tensor, Tensor]:
    """Convert boxes and points to points, (batch, n, 2), and labels, (batch, n): a box is two labelled corners."""
    points = torch.zeros(prompts.batch, 0, 2, device=device) if prompts.points is None else prompts.points
    labels = points.new_zeros(points.shape[:2]) if prompts.labels is None else prompts.labels
    if prompts.boxes is not None:
        last_points, last_labels = prompts.boxes.reshape(-1, 2, 2), [_TOP_LEFT_CORNER, _BOTTOM_RIGHT_CORNER]
    elif prompts.points is not None:
        # SAM was trained with a padding point if there is no box.
        last_points, last_labels = points.new_zeros(prompts.batch, 1, 2), [NO_POINT]
    else:
        return points, labels.long()
    closing = torch.tensor(last_labels, device=device).expand(prompts.batch, -1)
    return torch.cat((points, last_points), dim=1), torch.cat((labels.long(), closing), dim=1)
