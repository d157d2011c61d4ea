from __future__ import annotations

import pytest
import torch
from torch import Tensor

from streamseg.train.spot.loss import assign, generalised_iou, outputs_loss, pairwise_iou
from streamseg.train.spot.network import BOX, STRIDES, decode, grid_cells

CLASSES = 3
CELLS = grid_cells(64, 96)


def rows_for(boxes: Tensor, objectness: float = -6.0) -> Tensor:
    """Outputs whose cells predict these boxes, shape (cells, 4), and no class: shape (1, cells, 5 + CLASSES)."""
    strides = CELLS[:, 2:]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2 / strides - CELLS[:, :2]
    sides = ((boxes[:, 2:] - boxes[:, :2]) / strides).log()
    rows = torch.full((1, len(CELLS), BOX + 1 + CLASSES), -6.0)
    rows[0, :, :2], rows[0, :, 2:BOX], rows[0, :, BOX] = middles, sides, objectness
    return rows


def around(cells: Tensor, side: float = 24.0) -> Tensor:
    middles = (cells[:, :2] + 0.5) * cells[:, 2:]
    return torch.cat((middles - side / 2, middles + side / 2), 1)


def label(*objects: tuple[float, float, float, float, float]) -> Tensor:
    labels = torch.full((1, 4, 5), -1.0)
    for place, one in enumerate(objects):
        labels[0, place] = torch.tensor(one)
    return labels


def test_the_cells_are_those_of_each_stride_row_by_row() -> None:
    assert CELLS.shape == (8 * 12 + 4 * 6 + 2 * 3, 3)
    assert CELLS[:13].tolist() == [*([x, 0, 8] for x in range(12)), [0, 1, 8]]
    assert sorted(set(CELLS[:, 2].tolist())) == list(STRIDES)


def test_outputs_become_boxes() -> None:
    boxes = around(CELLS)
    torch.testing.assert_close(decode(rows_for(boxes), CELLS)[0], boxes)


def test_an_object_goes_to_the_cells_within_it_that_predict_it_best() -> None:
    truth = (1, 20.0, 16.0, 52.0, 48.0)
    boxes = around(CELLS)
    good = int((torch.tensor((4.0, 4.0, 8.0)) == CELLS).all(1).nonzero())
    boxes[good] = torch.tensor(truth[1:])
    scores = torch.full((1, len(CELLS), CLASSES), 0.1)
    found = assign(boxes[None], scores, CELLS, label(truth))
    taken = found.quality[0] > 0
    assert 1 < taken.sum() <= 10
    assert found.quality[0].argmax() == good
    assert found.quality[0, good] == pytest.approx(1.0, abs=1e-3)
    middles = (CELLS[taken, :2] + 0.5) * CELLS[taken, 2:]
    assert ((middles > torch.tensor(truth[1:3])) & (middles < torch.tensor(truth[3:]))).all()
    assert found.classes[0][taken].tolist() == [1] * int(taken.sum())
    assert (found.boxes[0][taken] == torch.tensor(truth[1:])).all()


def test_a_cell_has_one_object_and_nothing_is_assigned_without_labels() -> None:
    one, other = (0, 16.0, 16.0, 48.0, 48.0), (2, 18.0, 18.0, 50.0, 50.0)
    scores = torch.full((1, len(CELLS), CLASSES), 0.1)
    found = assign(around(CELLS)[None], scores, CELLS, label(one, other))
    assert {0, 2} == set(found.classes[0][found.quality[0] > 0].tolist())
    assert (assign(around(CELLS)[None], scores, CELLS, label()).quality == 0).all()


def test_the_loss_falls_as_outputs_come_nearer_to_the_labels() -> None:
    truth = (1.0, 20.0, 16.0, 52.0, 48.0)
    boxes = around(CELLS)
    inside = assign(boxes[None], torch.full((1, len(CELLS), CLASSES), 0.1), CELLS, label(truth)).quality[0] > 0
    losses = []
    for step in range(4):
        nearer = boxes.clone()
        nearer[inside] = boxes[inside].lerp(torch.tensor(truth[1:]), step / 3)
        rows = rows_for(nearer)
        rows[0, inside, BOX] = -6.0 + 3 * step
        rows[0, inside, BOX + 1 + int(truth[0])] = -6.0 + 4 * step
        losses.append(float(outputs_loss(rows, CELLS, label(truth), None)))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.2 * losses[0]


def test_what_the_teacher_finds_is_no_background() -> None:
    rows = rows_for(around(CELLS), objectness=3.0)
    taught = rows.clone()
    taught[..., BOX:] = taught[..., BOX:].sigmoid()
    alone = float(outputs_loss(rows, CELLS, label(), None))
    assert float(outputs_loss(rows, CELLS, label(), taught)) < 0.2 * alone
    taught[..., BOX] = 0.0
    assert float(outputs_loss(rows, CELLS, label(), taught)) == pytest.approx(alone, rel=1e-3)


def test_the_gradient_is_finite_for_any_outputs() -> None:
    torch.manual_seed(0)
    rows = (20 * torch.randn(1, len(CELLS), BOX + 1 + CLASSES)).requires_grad_()
    outputs_loss(rows, CELLS, label((0, 5.0, 5.0, 60.0, 30.0)), None).backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None and rows.grad.isfinite().all()


def test_ious() -> None:
    first = torch.tensor([[[0.0, 0, 10, 10], [20, 20, 30, 30]]])
    second = torch.tensor([[[5.0, 0, 15, 10]]])
    assert pairwise_iou(first, second)[0, :, 0].tolist() == pytest.approx([1 / 3, 0])
    assert generalised_iou(first[0, 0], second[0, 0]).item() == pytest.approx(1 / 3)
    assert generalised_iou(first[0, 0], first[0, 1]).item() == pytest.approx(-1 + 200 / 900)
