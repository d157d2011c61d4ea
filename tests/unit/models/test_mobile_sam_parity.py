"""MobileSAM gives what the original gives, from the same weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from oracle import OracleAnswer, OraclePrediction, OraclePrompt, oracle_predict, seeded_checkpoint

from streamseg.messages import Box, Detection, Image, ObjectMask
from streamseg.models import Segmenter
from streamseg.models.mobile_sam import ImageEmbedding, MobileSam, Prompts
from streamseg.models.mobile_sam.predictor import resize_boxes

LOGIT_TOLERANCE = 1e-3
IOU_TOLERANCE = 1e-4
FEATURE_TOLERANCE = 1e-4

SHAPES = {"landscape": (480, 854), "portrait": (477, 271), "tiny": (31, 47), "square": (200, 200)}
MANY_BOXES = 10
"""More than are decoded at once."""


def picture(height: int, width: int, seed: int) -> Image:
    """Coloured clouds with fine noise, so that a wrong resize or a swapped channel shows."""
    random = np.random.default_rng(seed)
    clouds = cv2.resize(random.uniform(0, 255, (6, 6, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(clouds + random.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)


def boxes_in(height: int, width: int, count: int, seed: int) -> list[Box]:
    """Boxes with fractions of pixels, the first the whole picture, the last leaving it."""
    random = np.random.default_rng(seed)
    corners = np.sort(random.uniform((0, 0), (width, height), (count, 2, 2)), axis=1).reshape(count, 4)
    corners[0] = 0, 0, width, height
    corners[-1] += (-20, -20, width / 2, 20)
    return [(left, top, right, bottom) for left, top, right, bottom in corners.tolist()]


def detection(box: Box) -> Detection:
    return Detection(xyxy=box, confidence=0.9, class_id=0, class_name="thing")


@dataclass(frozen=True)
class Case:
    image: Image
    boxes: list[Box]


CASES = {
    name: Case(picture(*size, seed), boxes_in(*size, MANY_BOXES if name == "landscape" else 2, seed))
    for seed, (name, size) in enumerate(SHAPES.items())
}

_RANDOM = np.random.default_rng(9)
_POINTS = np.array([[20.5, 30.0], [150.0, 90.25], [199.0, 0.0]], dtype=np.float32)
_LABELS = np.array([1, 0, 1])
_EARLIER = _RANDOM.normal(0, 8, (1, 256, 256)).astype(np.float32)
_BOX = (30.0, 40.5, 170.0, 160.0)
PROMPTS = {
    "points": OraclePrompt(points=_POINTS, labels=_LABELS),
    "one point, three masks": OraclePrompt(points=_POINTS[:1], labels=_LABELS[:1], multimask=True),
    "filling points": OraclePrompt(points=_POINTS, labels=np.array([1, -1, -1])),
    "points and box": OraclePrompt(points=_POINTS, labels=_LABELS, box=_BOX),
    "earlier mask": OraclePrompt(mask_input=_EARLIER),
    "everything": OraclePrompt(points=_POINTS, labels=_LABELS, box=_BOX, mask_input=_EARLIER, multimask=True),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mobile_sam") / "seeded.pt"
    seeded_checkpoint(path, seed=2)
    return path


@pytest.fixture(scope="module")
def answers(checkpoint: Path) -> dict[str, OracleAnswer]:
    """What the original says of each picture's boxes; of the square's also to `PROMPTS`."""
    asked = [[OraclePrompt(box=box) for box in case.boxes] for case in CASES.values()]
    asked[list(CASES).index("square")] += PROMPTS.values()
    said = oracle_predict(checkpoint, list(zip((case.image for case in CASES.values()), asked, strict=True)))
    return dict(zip(CASES, said, strict=True))


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> MobileSam:
    return MobileSam.load(checkpoint, threads=2)


@pytest.fixture(scope="module")
def embeddings(model: MobileSam) -> dict[str, ImageEmbedding]:
    return {name: model.encode(case.image) for name, case in CASES.items()}


def assert_same_mask(ours: ObjectMask, original: OraclePrediction) -> None:
    logits = original.logits[0]
    assert ours.mask is not None
    assert ours.method == "mobilesam"
    wrong = ours.mask.paste(*logits.shape) != original.masks[0]
    assert np.abs(logits[wrong]).max(initial=0.0) <= LOGIT_TOLERANCE
    assert ours.predicted_iou == pytest.approx(float(original.iou[0]), abs=IOU_TOLERANCE)
    assert ours.stability == pytest.approx(np.count_nonzero(logits > 1) / np.count_nonzero(logits > -1), abs=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_features_equal_the_originals(shape: str, embeddings: dict[str, ImageEmbedding], answers: dict[str, OracleAnswer]) -> None:
    ours, original = embeddings[shape].features.numpy(), answers[shape].features
    assert ours.shape == (1, 256, 64, 64)
    assert np.linalg.norm(ours - original) <= FEATURE_TOLERANCE * np.linalg.norm(original)
    assert np.abs(ours - original).max() <= FEATURE_TOLERANCE * np.abs(original).max()


@pytest.mark.parametrize("shape", SHAPES)
def test_low_resolution_logits_equal_the_originals(
    shape: str, model: MobileSam, embeddings: dict[str, ImageEmbedding], answers: dict[str, OracleAnswer]
) -> None:
    embedding = embeddings[shape]
    ours = model.predict(embedding, Prompts(boxes=resize_boxes(CASES[shape].boxes, embedding)), multimask=False)
    original = answers[shape].predictions[: len(CASES[shape].boxes)]
    np.testing.assert_allclose(ours.logits.numpy(), np.stack([prediction.low_res for prediction in original]), rtol=0, atol=LOGIT_TOLERANCE)
    np.testing.assert_allclose(
        ours.predicted_iou.numpy(), np.stack([prediction.iou for prediction in original]), rtol=0, atol=IOU_TOLERANCE
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_of_many_boxes_equal_the_originals(
    shape: str, model: MobileSam, embeddings: dict[str, ImageEmbedding], answers: dict[str, OracleAnswer]
) -> None:
    ours = model.decode(embeddings[shape], [detection(box) for box in CASES[shape].boxes])
    for mine, original in zip(ours, answers[shape].predictions[: len(CASES[shape].boxes)], strict=True):
        assert_same_mask(mine, original)


def test_the_masks_compared_are_not_trivial(answers: dict[str, OracleAnswer]) -> None:
    masks = np.stack([prediction.masks[0] for prediction in answers["landscape"].predictions])
    assert np.all((masks.mean(axis=(1, 2)) > 0.05) & (masks.mean(axis=(1, 2)) < 0.95))
    assert all((masks[i] ^ masks[j]).mean() > 0.005 for i in range(len(masks)) for j in range(i))


def test_one_box_equals_the_original(model: MobileSam, embeddings: dict[str, ImageEmbedding], answers: dict[str, OracleAnswer]) -> None:
    segmenter: Segmenter[ImageEmbedding] = model
    [mine] = segmenter.decode(embeddings["landscape"], [detection(CASES["landscape"].boxes[1])])
    assert_same_mask(mine, answers["landscape"].predictions[1])


@pytest.mark.parametrize("name", PROMPTS)
def test_other_prompts_equal_the_original(
    name: str, model: MobileSam, embeddings: dict[str, ImageEmbedding], answers: dict[str, OracleAnswer]
) -> None:
    asked, embedding = PROMPTS[name], embeddings["square"]
    original = answers["square"].predictions[len(CASES["square"].boxes) + list(PROMPTS).index(name)]
    scale = embedding.resized_size[0] / embedding.original_size[0]
    prompts = Prompts(
        boxes=None if asked.box is None else resize_boxes([asked.box], embedding),
        points=None if asked.points is None else torch.from_numpy(asked.points * np.float32(scale))[None],
        labels=None if asked.labels is None else torch.from_numpy(asked.labels)[None],
        masks=None if asked.mask_input is None else torch.from_numpy(asked.mask_input)[None],
    )
    ours = model.predict(embedding, prompts, multimask=asked.multimask)
    np.testing.assert_allclose(ours.logits[0].numpy(), original.low_res, rtol=0, atol=LOGIT_TOLERANCE)
    np.testing.assert_allclose(ours.predicted_iou[0].numpy(), original.iou, rtol=0, atol=IOU_TOLERANCE)


def test_no_box_no_mask(model: MobileSam, embeddings: dict[str, ImageEmbedding]) -> None:
    assert model.decode(embeddings["tiny"], []) == []


def test_an_empty_answer_has_no_mask(checkpoint: Path, embeddings: dict[str, ImageEmbedding]) -> None:
    model = MobileSam.load(checkpoint)
    decoder: Any = model.network.mask_decoder
    # Kernels of -1 over features near 100 lie far below 0 everywhere.
    decoder.output_hypernetworks_mlps[0].layers[2].weight.zero_()
    decoder.output_hypernetworks_mlps[0].layers[2].bias.fill_(-1.0)
    decoder.output_upscaling[3].bias.fill_(100.0)
    assert model.decode(embeddings["tiny"], [detection((5, 5, 40, 25))]) == [ObjectMask(mask=None, method="none")]


def test_prompts_of_different_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="one batch size"):
        Prompts(boxes=torch.zeros(2, 4), masks=torch.zeros(1, 1, 256, 256))
    with pytest.raises(ValueError, match="together"):
        Prompts(points=torch.zeros(1, 1, 2))
