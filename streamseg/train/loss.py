"""The loss of nano: how far its masks and their predicted IoU are from the truth."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from streamseg.train.network import NanoNetwork

_IOU_WEIGHT = 0.1
"""Of the predicted IoU in the loss."""


def loss(network: NanoNetwork, pictures: Tensor, hints: Tensor, targets: Tensor, outside: Tensor) -> Tensor:
    """The loss of a network on a batch; see `NanoNetwork.forward`, and `mask_loss`."""
    logits, quality = network(pictures.contiguous(memory_format=torch.channels_last), hints)
    return mask_loss(logits, quality, targets, outside)


def mask_loss(logits: Tensor, quality: Tensor, targets: Tensor, outside: Tensor) -> Tensor:
    """Cross-entropy and Dice (Milletari et al., "V-Net", 2016) of the masks, and cross-entropy of the predicted IoU.

    Args:
        logits: Shape (n, side, side).
        quality: Logits of the predicted IoU, shape (n,).
        targets: Shape (n, side, side), 0 to 1.
        outside: Area of each object outside its window, in pixels, shape (n,): only the predicted IoU counts it.
    """
    probabilities = logits.sigmoid()
    shared = (probabilities * targets).sum((1, 2))
    dice = 1 - (2 * shared + 1) / (probabilities.sum((1, 2)) + targets.sum((1, 2)) + 1)
    iou_loss = functional.binary_cross_entropy_with_logits(quality, ious(logits, targets, outside))
    return functional.binary_cross_entropy_with_logits(logits, targets) + dice.mean() + _IOU_WEIGHT * iou_loss


@torch.no_grad()
def ious(logits: Tensor, targets: Tensor, outside: Tensor) -> Tensor:
    """Intersection over union of each mask with its whole object, shape (n,); see `mask_loss`."""
    drawn, true = logits > 0, targets > 0.5
    either = (drawn | true).sum((1, 2)) + outside
    return (drawn & true).sum((1, 2)) / either.clamp(min=1)
