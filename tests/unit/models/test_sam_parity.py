"""MobileSAM and SAM give what the originals give from the same weights: every kind of picture, every kind of prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet
from numpy.typing import NDArray
from support.oracle import Oracle, OracleAnswer, OraclePrediction, OraclePrompt, clouds
from timm.models.vision_transformer_sam import samvit_base_patch16
from torch import Tensor

from streamseg.geometry import Box
from streamseg.messages import Detection, ObjectMask
from streamseg.models.segmenters.sam import ImageEmbedding, Prediction, Sam
from streamseg.models.segmenters.sam.architectures import IMAGE_ENCODERS
from streamseg.models.segmenters.sam.mask_decoder import POOR_IOU
from streamseg.models.segmenters.sam.vit import VitEncoder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

FEATURE_TOLERANCE = 1e-4
LOGIT_TOLERANCE = 1e-3
IOU_TOLERANCE = 1e-4
"""Each a share of the largest magnitude."""

MODELS = {"mobilesam": "vit_t", "sam-vit-b": "vit_b"}
SHORT_VIT_B = partial(VitEncoder, partial(samvit_base_patch16, depth=3, global_attn_indexes=[2]))
"""ViT-B without the blocks that repeat the first three; all twelve take 16 s a picture, the original's 29 s."""
SHAPES = {
    "landscape": (480, 854),
    "portrait": (477, 271),
    "tiny": (31, 47),
    "square": (200, 200),
    "large": (1100, 1500),
}
SEED = 2
"""Of the weights: with it, masks are neither empty nor the whole picture."""
MANY = 10
"""More prompts than are answered at once."""


def boxes_in(height: int, width: int, count: int) -> list[Box]:
    """Boxes with fractions of pixels, the first the whole picture, the last leaving it."""
    random = np.random.default_rng(width)
    corners = np.sort(random.uniform((0, 0), (width, height), (count, 2, 2)), axis=1).reshape(count, 4)
    corners[0] = 0, 0, width, height
    corners[-1] += (-20, -20, width / 2, 20)
    return [(left, top, right, bottom) for left, top, right, bottom in corners.tolist()]


def points_in(height: int, width: int, count: int) -> NDArray[np.float32]:
    """Points with fractions of pixels, the last the corner."""
    points = np.random.default_rng(height + width).uniform((0, 0), (width, height), (count, 2)).astype(np.float32)
    points[-1] = width - 1, height - 1
    return points


def one_box(height: int, width: int) -> list[OraclePrompt]:
    return [OraclePrompt(box=boxes_in(height, width, 3)[1])]


def many_boxes(height: int, width: int) -> list[OraclePrompt]:
    return [OraclePrompt(box=box) for box in boxes_in(height, width, MANY)]


def many_boxes_three_masks(height: int, width: int) -> list[OraclePrompt]:
    return [OraclePrompt(box=box, multimask=True) for box in boxes_in(height, width, MANY)]


def one_point(height: int, width: int) -> list[OraclePrompt]:
    return [OraclePrompt(points=points_in(height, width, 1), labels=np.array([1]))]


def one_point_three_masks(height: int, width: int) -> list[OraclePrompt]:
    return [OraclePrompt(points=points_in(height, width, 2)[:1], labels=np.array([1]), multimask=True)]


def points_of_many_objects(height: int, width: int) -> list[OraclePrompt]:
    return [OraclePrompt(points=point[None], labels=np.array([1])) for point in points_in(height, width, MANY)]


def points_of_one_object(height: int, width: int) -> list[OraclePrompt]:
    return [OraclePrompt(points=points_in(height, width, 4), labels=np.ones(4, np.int64))]


def negative_points(height: int, width: int) -> list[OraclePrompt]:
    points = points_in(height, width, 3)
    return [OraclePrompt(points=points, labels=np.array(labels)) for labels in ([1, 0, 1], [0, 0, 1], [1, 1, -1])]


def box_and_points(height: int, width: int) -> list[OraclePrompt]:
    points, labels = points_in(height, width, 2), np.array([1, 0])
    return [OraclePrompt(box=box, points=points, labels=labels) for box in boxes_in(height, width, 3)[:2]]


def earlier_mask(height: int, width: int) -> list[OraclePrompt]:
    return [OraclePrompt(mask_input=_earlier(seed)) for seed in range(2)]


def everything_at_once(height: int, width: int) -> list[OraclePrompt]:
    (prompt, *_) = box_and_points(height, width)
    return [
        OraclePrompt(box=prompt.box, points=prompt.points, labels=prompt.labels, mask_input=_earlier(3), multimask=True)
    ]


def _earlier(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 8, (1, 256, 256)).astype(np.float32)


PROMPTS: dict[str, Callable[[int, int], list[OraclePrompt]]] = {
    "one box": one_box,
    "many boxes": many_boxes,
    "many boxes, three masks": many_boxes_three_masks,
    "one point": one_point,
    "one point, three masks": one_point_three_masks,
    "points of many objects": points_of_many_objects,
    "points of one object": points_of_one_object,
    "negative points": negative_points,
    "box and points": box_and_points,
    "earlier mask": earlier_mask,
    "everything at once": everything_at_once,
}


COVERING = ("one box", "negative points", "everything at once")
"""Kinds that together have boxes, points of both labels, an earlier mask, one mask and three, one object and many."""


def kinds(model: str, shape: str, *, full: bool) -> list[str]:
    """The kinds of prompt that are compared on a picture: all of them, or enough for each pair of what may go wrong.

    Every kind meets every model; a wide, an upright and a reduced picture meet each property of a prompt. Only in the
    full matrix SAM reads a second picture: MobileSAM shares all code that depends on the shape.
    """
    if full or shape == "landscape":
        return list(PROMPTS)
    return list(COVERING) if model == "mobilesam" and shape in ("portrait", "large") else []


def case_of(model: str, shape: str, *kind: str) -> ParameterSet:
    compared = kinds(model, shape, full=False)
    covered = bool(compared) and all(one in compared for one in kind)
    return pytest.param(
        model,
        shape,
        *kind,
        marks=[] if covered else [pytest.mark.full],
    )


@dataclass(frozen=True, eq=False)
class Pair:
    """Our model, its embedding of each picture, and the original's answers."""

    model: Sam
    embeddings: dict[str, ImageEmbedding]
    answers: dict[str, OracleAnswer]
    kinds: dict[str, list[str]]

    def original(self, shape: str, kind: str) -> list[OraclePrediction]:
        place = self.kinds[shape].index(kind)
        start = sum(len(PROMPTS[name](*SHAPES[shape])) for name in self.kinds[shape][:place])
        return self.answers[shape].predictions[start : start + len(PROMPTS[kind](*SHAPES[shape]))]

    def ours(self, shape: str, kind: str) -> tuple[Prediction, list[list[ObjectMask]]]:
        """All prompts of that kind in one call, from the one embedding of the picture."""
        prompts = PROMPTS[kind](*SHAPES[shape])
        embedding = self.embeddings[shape]
        boxes, points, labels, masks = (
            [getattr(prompt, name) for prompt in prompts] for name in ("box", "points", "labels", "mask_input")
        )
        given = embedding.prompts(
            boxes=None if boxes[0] is None else boxes,
            points=None if points[0] is None else np.stack(points),
            labels=None if labels[0] is None else np.stack(labels),
            masks=None if masks[0] is None else np.stack(masks),
        )
        prediction = self.model.predict(embedding, given, multimask=prompts[0].multimask)
        return prediction, self.model.masks(embedding, prediction)


@pytest.fixture(scope="module")
def pairs() -> dict[str, Pair]:
    """The pairs made so far, by model: no order of tests makes one twice."""
    return {}


@pytest.fixture
def pair(
    request: pytest.FixtureRequest, pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory, oracle: Oracle
) -> Pair:
    """The pair of a model, which the tests name as the fixture's parameter."""
    name: str = request.param
    if name not in pairs:
        folder, full = tmp_path_factory.mktemp("parity"), bool(request.config.getoption("full"))
        with pytest.MonkeyPatch.context() as patch:
            if not full:
                patch.setattr(
                    "streamseg.models.segmenters.sam.network.IMAGE_ENCODERS",
                    {**IMAGE_ENCODERS, "sam-vit-b": SHORT_VIT_B},
                )
            pairs[name] = make_pair(name, folder, oracle, full=full)
    return pairs[name]


def make_pair(name: str, folder: Path, oracle: Oracle, *, full: bool) -> Pair:
    checkpoint = folder / "weights.pt"
    original = "vit_b_short" if name == "sam-vit-b" and not full else MODELS[name]
    oracle.write_checkpoint(checkpoint, SEED, original)
    compared = {shape: given for shape in SHAPES if (given := kinds(name, shape, full=full))}
    pictures = {shape: clouds(*SHAPES[shape], seed=SHAPES[shape][0]) for shape in compared}
    asked = [
        (pictures[shape], [prompt for kind in given for prompt in PROMPTS[kind](*SHAPES[shape])])
        for shape, given in compared.items()
    ]
    answers = oracle.predict(checkpoint, asked, original)
    model = Sam.load(checkpoint, architecture=name, threads=1)
    checkpoint.unlink()
    embeddings = {shape: model.encode(image) for shape, image in pictures.items()}
    return Pair(model, embeddings, dict(zip(compared, answers, strict=True)), compared)


each_model = pytest.mark.parametrize(
    "pair",
    MODELS,
    indirect=True,
)


def difference(ours: NDArray[np.float32], original: NDArray[np.float32], magnitude: float | None = None) -> float:
    """The largest difference as a share of the largest magnitude."""
    assert ours.shape == original.shape
    return float(np.abs(ours - original).max()) / (magnitude or float(np.abs(original).max()))


@pytest.mark.parametrize(
    ("pair", "shape"), [case_of(model, shape) for model in MODELS for shape in SHAPES], indirect=["pair"]
)
def test_the_embedding_is_the_originals(pair: Pair, shape: str) -> None:
    features = pair.embeddings[shape].features.numpy()
    assert features.shape == (1, 256, 64, 64)
    found = difference(features, pair.answers[shape].features)
    print(f"{pair.model.name}, {shape}: embedding {found:.1e}")
    assert found <= FEATURE_TOLERANCE


@pytest.mark.parametrize(
    ("pair", "shape", "kind"),
    [case_of(model, shape, kind) for model in MODELS for shape in SHAPES for kind in PROMPTS],
    indirect=["pair"],
)
def test_the_predictions_are_the_originals(pair: Pair, shape: str, kind: str) -> None:
    original = pair.original(shape, kind)
    prediction, masks = pair.ours(shape, kind)
    logits = difference(prediction.logits.numpy(), np.stack([answer.low_res for answer in original]))
    # One prompt's predicted IoU may be almost zero; compare on the scale of all of the picture's predictions.
    scale = max(float(np.abs(answer.iou).max()) for answer in pair.answers[shape].predictions)
    iou = difference(prediction.predicted_iou.numpy(), np.stack([answer.iou for answer in original]), scale)
    print(f"{pair.model.name}, {shape}, {kind}: logits {logits:.1e}, predicted IoU {iou:.1e}")
    assert logits <= LOGIT_TOLERANCE
    assert iou <= IOU_TOLERANCE
    for candidates, answer in zip(masks, original, strict=True):
        assert len(candidates) == (3 if "three" in kind or "everything" in kind else 1)
        for index, candidate in enumerate(candidates):
            assert_same_mask(pair.model.name, candidate, answer.logits[index], float(answer.iou[index]))


def assert_same_mask(name: str, ours: ObjectMask, logits: NDArray[np.float32], predicted_iou: float) -> None:
    near = LOGIT_TOLERANCE * np.abs(logits).max()
    if ours.mask is None:
        assert ours.predicted_iou is None
        assert logits.max() <= near
        return
    wrong = ours.mask.paste(*logits.shape) != (logits > 0)
    assert np.abs(logits[wrong]).max(initial=0.0) <= near
    assert ours.predicted_iou == pytest.approx(predicted_iou, abs=IOU_TOLERANCE * max(1.0, abs(predicted_iou)))
    assert ours.stability == pytest.approx(np.count_nonzero(logits > 1) / np.count_nonzero(logits > -1), abs=2e-3)


@contextmanager
def rescored(model: Sam, added: NDArray[np.float32]) -> Iterator[None]:
    """A model that says this much more of the IoU of each of its four masks."""
    bias = model.network.mask_decoder.iou_prediction_head.layers[-1].bias
    assert isinstance(bias, Tensor)
    before = bias.clone()
    bias.add_(torch.from_numpy(added))
    try:
        yield
    finally:
        bias.copy_(before)


@each_model
@pytest.mark.parametrize("kind", ["good", "poor", "poor for some"])
def test_decode_selects_masks_by_the_originals_scores(pair: Pair, kind: str) -> None:
    boxes = [prompt.box for prompt in many_boxes(*SHAPES["landscape"]) if prompt.box is not None]
    detections = [Detection(xyxy=box, confidence=0.9, class_id=0, class_name="thing") for box in boxes]
    answers = [pair.original("landscape", prompts) for prompts in ("many boxes", "many boxes, three masks")]
    logits, scores = (
        np.concatenate([np.stack([getattr(answer, name) for answer in part]) for part in answers], axis=1)
        for name in ("logits", "iou")
    )
    wanted = {
        "good": np.array([0.9 + np.ptp(scores[:, 0]), 2, 2, 2], np.float32),
        "poor": np.array([-9, 0, 0, 0], np.float32),
        "poor for some": np.array([POOR_IOU, 9, 9, 9], np.float32),
    }
    # The last layer adds a bias, so that the original with another one would say this much more.
    added = wanted[kind] - np.median(scores, axis=0)
    scores = scores + added
    taken = [int(row.argmax()) if row[0] < POOR_IOU else 0 for row in scores]
    assert {choice > 0 for choice in taken} == {"good": {False}, "poor": {True}, "poor for some": {False, True}}[kind]
    with rescored(pair.model, added):
        ours = pair.model.decode(pair.embeddings["landscape"], detections)
    for box, (mask, choice) in enumerate(zip(ours, taken, strict=True)):
        assert_same_mask(pair.model.name, mask, logits[box, choice], float(scores[box, choice]))


@each_model
def test_no_boxes_no_masks(pair: Pair) -> None:
    assert pair.model.decode(pair.embeddings["landscape"], []) == []


@each_model
def test_the_masks_compared_are_not_trivial(pair: Pair) -> None:
    shares = np.array([(answer.logits > 0).mean() for answer in pair.original("landscape", "many boxes")])
    assert np.count_nonzero((shares > 0.02) & (shares < 0.98)) >= MANY // 2
