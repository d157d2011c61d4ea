"""The loss of spot: how far its outputs are from the labels, and from a teacher's outputs.

A labelled object is assigned to the cells within it that predict it best already (Feng et al., "TOOD: Task-aligned
One-stage Object Detection", 2021). A cell's objectness is to be the quality of its box, or the teacher's objectness if
that is higher: so what nobody has labelled is no background.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from streamseg.train.spot.network import BOX, SpotNetwork, decode, grid_cells

_CELLS_PER_OBJECT = 10
_REACH = 2.5
"""Farthest middle of a cell from the middle of an object that it is assigned to, in cells."""
_SCORE_POWER, _IOU_POWER = 1.0, 6.0
_BOX_WEIGHT = 2.0
_TAUGHT = 0.05
"""Objectness of the teacher from which its boxes and classes are imitated."""


def loss(network: SpotNetwork, pictures: Tensor, labels: Tensor, taught: Tensor | None = None) -> Tensor:
    """The loss of a network on a batch; see `Scenes.batch` for the arguments."""
    pictures = pictures.float().contiguous(memory_format=torch.channels_last)
    rows = network(pictures)
    cells = grid_cells(pictures.shape[2], pictures.shape[3], rows.device)
    return outputs_loss(rows, cells, labels, None if taught is None else taught.float())


def outputs_loss(rows: Tensor, cells: Tensor, labels: Tensor, taught: Tensor | None) -> Tensor:
    """The loss of outputs.

    Args:
        rows: Shape (n, cells, 5 + classes); see `SpotNetwork.forward`.
        cells: Of `grid_cells`.
        labels: Shape (n, objects, 5): class, -1 for none, and box in pixels.
        taught: The teacher's outputs, as `rows`, with probabilities.
    """
    boxes, objectness, classes = decode(rows, cells), rows[..., BOX], rows[..., BOX + 1 :]
    assigned = assign(
        boxes.detach(), (objectness.detach().sigmoid()[..., None] * classes.detach().sigmoid()), cells, labels
    )
    certain = assigned.quality
    total = certain.sum().clamp(min=1)
    named = functional.one_hot(assigned.classes, classes.shape[-1]).float()
    box_loss = (certain * (1 - generalised_iou(boxes, assigned.boxes))).sum() / total
    class_loss = (
        certain * functional.binary_cross_entropy_with_logits(classes, named, reduction="none").sum(-1)
    ).sum() / total
    wanted = certain
    if taught is not None:
        theirs = taught[..., BOX]
        strong = theirs * (theirs > _TAUGHT)
        amount = strong.sum().clamp(min=1)
        imitated = functional.binary_cross_entropy_with_logits(classes, taught[..., BOX + 1 :], reduction="none").sum(
            -1
        )
        class_loss = class_loss + (strong * imitated).sum() / amount
        box_loss = box_loss + (strong * (1 - generalised_iou(boxes, decode(taught, cells)))).sum() / amount
        wanted = torch.maximum(certain, theirs)
    object_loss = functional.binary_cross_entropy_with_logits(objectness, wanted, reduction="none")
    # Cells that are right already, as nearly all are, count little (Li et al., "Generalized Focal Loss", 2020).
    focus = (objectness.detach().sigmoid() - wanted).abs()
    return (focus * object_loss).sum() / wanted.sum().clamp(min=1) * 4 + class_loss + _BOX_WEIGHT * box_loss


@dataclass(frozen=True, slots=True)
class Assigned:
    """What each cell is to predict: quality, shape (n, cells), 0 for background; classes, the same shape; boxes."""

    quality: Tensor
    classes: Tensor
    boxes: Tensor


@torch.no_grad()
def assign(boxes: Tensor, scores: Tensor, cells: Tensor, labels: Tensor) -> Assigned:
    """Assign labelled objects to cells.

    Args:
        boxes: Predicted, shape (n, cells, 4).
        scores: Predicted, shape (n, cells, classes), 0 to 1.
        cells: Of `grid_cells`.
        labels: Shape (n, objects, 5).
    """
    names, truth = labels[..., 0].long().clamp(min=0), labels[..., 1:]
    middles, reach = (cells[:, :2] + 0.5) * cells[:, 2:], _REACH * cells[:, 2]
    inside = _contains(truth, middles)
    centres = (truth[..., :2] + truth[..., 2:]) / 2
    near = ((middles - centres[:, :, None]).abs() <= reach[:, None]).all(-1)
    allowed = inside & near & (labels[..., :1] >= 0)
    ious = pairwise_iou(truth, boxes) * allowed
    of_class = scores.transpose(1, 2).gather(1, names[..., None].expand(-1, -1, scores.shape[1]))
    metric = (of_class**_SCORE_POWER * ious**_IOU_POWER + 1e-9) * allowed
    best = metric.topk(min(_CELLS_PER_OBJECT, metric.shape[-1]), dim=-1)
    chosen = torch.zeros_like(metric).scatter_(-1, best.indices, 1.0) * (metric > 0)
    owner = (chosen * (ious + 1e-6)).argmax(1)
    taken = chosen.gather(1, owner[:, None])[:, 0] > 0
    # The best cell of an object is to have the quality of its IoU, the others less.
    mine = torch.zeros_like(chosen).scatter_(1, owner[:, None], 1.0) * chosen
    strength = metric * mine
    quality = strength / strength.amax(-1, keepdim=True).clamp(min=1e-12) * (ious * mine).amax(-1, keepdim=True)
    return Assigned(
        quality.gather(1, owner[:, None])[:, 0] * taken,
        names.gather(1, owner),
        truth.gather(1, owner[..., None].expand(-1, -1, 4)),
    )


def _contains(boxes: Tensor, points: Tensor) -> Tensor:
    """Which of the points, shape (cells, 2), lie in which boxes, shape (n, objects, 4): (n, objects, cells)."""
    left_top = points - boxes[:, :, None, :2]
    right_bottom = boxes[:, :, None, 2:] - points
    return (left_top > 0).all(-1) & (right_bottom > 0).all(-1)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of boxes of shape (n, a, 4) with boxes of shape (n, b, 4): shape (n, a, b)."""
    shared_sides = torch.minimum(first[:, :, None, 2:], second[:, None, :, 2:]) - torch.maximum(
        first[:, :, None, :2], second[:, None, :, :2]
    )
    shared = shared_sides.clamp(min=0).prod(-1)
    return shared / (_areas(first)[:, :, None] + _areas(second)[:, None] - shared).clamp(min=1e-6)


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """Generalised IoU of pairs of boxes (Rezatofighi et al., 2019), of shape (…, 4)."""
    shared = (torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])).clamp(
        min=0
    )
    both = shared.prod(-1)
    either = _areas(first) + _areas(second) - both
    hull = (torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])).prod(-1)
    return both / either.clamp(min=1e-6) - (hull - either) / hull.clamp(min=1e-6)


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
