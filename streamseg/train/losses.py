"""What is asked of the network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_JUDGEMENT_SHARE = 0.1


def loss(logits: Tensor, quality: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy and Dice (Milletari et al., "V-Net", 2016) of the masks, and cross-entropy of the expected IoU with the actual.

    Args:
        logits: Shape (n, side, side).
        quality: Logits of the expected IoU, shape (n,).
        targets: Shape (n, side, side), 0 to 1.
    """
    probabilities = logits.sigmoid()
    shared = (probabilities * targets).sum((1, 2))
    dice = 1 - (2 * shared + 1) / (probabilities.sum((1, 2)) + targets.sum((1, 2)) + 1)
    judgement = functional.binary_cross_entropy_with_logits(quality, ious(logits, targets))
    return functional.binary_cross_entropy_with_logits(logits, targets) + dice.mean() + _JUDGEMENT_SHARE * judgement


@torch.no_grad()
def ious(logits: Tensor, targets: Tensor) -> Tensor:
    """Intersection over union of each mask with its target, shape (n,)."""
    drawn, true = logits > 0, targets > 0.5
    either = (drawn | true).sum((1, 2))
    return (drawn & true).sum((1, 2)) / either.clamp(min=1)
