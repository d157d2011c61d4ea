"""`SAM` understands each call as Ultralytics documents it, and answers it as the original does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervision as sv
import torch
from numpy.typing import NDArray
from support.oracle import Oracle, OraclePrediction, OraclePrompt

from streamseg import SAM
from streamseg.errors import SourceError, UsageError, WeightsError
from streamseg.images import read_image
from streamseg.messages import Image
from streamseg.models.segmenters.sam import ImageEmbedding, Prediction, Prompts, Sam, SamNetwork
from streamseg.models.segmenters.sam.automatic import AutomaticOptions, generate
from streamseg.object_prompts import Numbers
from streamseg.sam import promptable

LOGIT_TOLERANCE = 1e-3
"""As a share of the largest magnitude."""
LEFT, RIGHT = (400.0, 370.0), (900.0, 370.0)
BOX, OTHER_BOX = (439.0, 437.0, 524.0, 709.0), (100.0, 50.0, 700.0, 600.0)


@dataclass(frozen=True, kw_only=True)
class Call:
    """How people call the model, and what they mean by it."""

    means: tuple[OraclePrompt, ...]
    points: Numbers | None = None
    labels: Numbers | None = None
    bboxes: Numbers | None = None
    masks: Numbers | None = None
    multimask_output: bool = False

    def on(self, model: SAM, picture: Image) -> sv.Detections:
        (detections,) = model(
            picture,
            points=self.points,
            labels=self.labels,
            bboxes=self.bboxes,
            masks=self.masks,
            multimask_output=self.multimask_output,
        )
        return detections


def earlier(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 8, (1, 256, 256)).astype(np.float32)


def at(
    *points: tuple[float, float], labels: tuple[int, ...] | None = None, box: Any = None, multimask: bool = False
) -> OraclePrompt:
    """One object prompted by points."""
    given = np.array(labels if labels is not None else [1] * len(points))
    return OraclePrompt(points=np.array(points, np.float32), labels=given, box=box, multimask=multimask)


CALLS = {
    "a point": Call(points=[900, 370], means=(at(RIGHT),)),
    "a point off the object": Call(points=[900, 370], labels=[0], means=(at(RIGHT, labels=(0,)),)),
    "two objects": Call(points=[[400, 370], [900, 370]], labels=[1, 1], means=(at(LEFT), at(RIGHT))),
    "two points of one object": Call(points=[[[400, 370], [900, 370]]], labels=[[1, 1]], means=(at(LEFT, RIGHT),)),
    "a negative point": Call(
        points=[[[400, 370], [900, 370]]], labels=[[1, 0]], means=(at(LEFT, RIGHT, labels=(1, 0)),)
    ),
    "two objects of two points": Call(
        points=[[[400, 370], [900, 370]], [[900, 370], [439, 437]]],
        labels=[[1, 0], [1, 1]],
        means=(at(LEFT, RIGHT, labels=(1, 0)), at(RIGHT, (439, 437))),
    ),
    "a box": Call(bboxes=[439, 437, 524, 709], means=(OraclePrompt(box=BOX),)),
    "two boxes": Call(bboxes=[BOX, OTHER_BOX], means=(OraclePrompt(box=BOX), OraclePrompt(box=OTHER_BOX))),
    "a box and a point": Call(bboxes=[100, 50, 700, 600], points=[400, 370], means=(at(LEFT, box=OTHER_BOX),)),
    "boxes and points": Call(
        bboxes=[OTHER_BOX, BOX],
        points=[[[400, 370], [450, 500]], [[480, 500], [500, 690]]],
        labels=[[1, 0], [1, 1]],
        means=(at(LEFT, (450, 500), labels=(1, 0), box=OTHER_BOX), at((480, 500), (500, 690), box=BOX)),
    ),
    "three masks": Call(
        points=[[400, 370], [900, 370]],
        multimask_output=True,
        means=(at(LEFT, multimask=True), at(RIGHT, multimask=True)),
    ),
    "earlier masks": Call(
        masks=np.concatenate([earlier(0), earlier(1)]),
        means=(OraclePrompt(mask_input=earlier(0)), OraclePrompt(mask_input=earlier(1))),
    ),
    "an earlier mask and a box": Call(
        masks=earlier(2)[0], bboxes=BOX, means=(OraclePrompt(mask_input=earlier(2), box=BOX),)
    ),
}

SAME = {
    "a point with its label": (Call(points=[900, 370], labels=[1], means=()), "a point"),
    "a point in a list": (Call(points=[[900, 370]], labels=[[1]], means=()), "a point"),
    "a point in a list of an object": (Call(points=[[[900, 370]]], labels=[1], means=()), "a point"),
    "two points without labels": (Call(points=[[[400, 370], [900, 370]]], means=()), "two points of one object"),
    "two objects without labels": (Call(points=[[400, 370], [900, 370]], means=()), "two objects"),
    "arrays": (Call(points=np.array([LEFT, RIGHT], np.float32), labels=np.array([1, 1]), means=()), "two objects"),
    "tensors": (Call(points=torch.tensor([LEFT, RIGHT]), labels=torch.tensor([1, 1]), means=()), "two objects"),
    "tuples": (Call(points=(LEFT, RIGHT), labels=(1, 1), means=()), "two objects"),
    "a list of tensors": (Call(bboxes=[torch.tensor(BOX), torch.tensor(OTHER_BOX)], means=()), "two boxes"),
}
"""Other ways to say what another call says."""


class Remembering(Sam):
    """Encodes the same picture once; all else is real."""

    def __init__(self, network: SamNetwork) -> None:
        super().__init__(network)
        self._known: dict[bytes, ImageEmbedding] = {}

    def encode(self, image: Image) -> ImageEmbedding:
        content = image.tobytes()
        if content not in self._known:
            self._known[content] = super().encode(image)
        return self._known[content]


class Blind(Remembering):
    """Sees nothing of one object."""

    unseen = 1

    def predict(self, embedding: ImageEmbedding, prompts: Prompts, *, multimask: bool) -> Prediction:
        prediction = super().predict(embedding, prompts, multimask=multimask)
        prediction.logits[self.unseen] = -1.0
        return prediction


def masks_of(detections: sv.Detections) -> NDArray[np.bool_]:
    """Shape (n, height, width)."""
    masks = detections.mask
    assert isinstance(masks, np.ndarray)
    assert masks.dtype == np.bool_
    return masks


def data_of(detections: sv.Detections, key: str) -> NDArray[Any]:
    values = detections.data[key]
    assert isinstance(values, np.ndarray)
    return values


@pytest.fixture(scope="module")
def model(seeded_weights: Path) -> SAM:
    model = SAM(seeded_weights, device="cpu")
    model.core = Remembering(model.core.network)
    return model


@pytest.fixture(scope="module")
def picture() -> Image:
    coffee = read_image(Path(str(files("skimage.data") / "coffee.png")))
    return np.asarray(cv2.resize(coffee, (1280, 720)), np.uint8)


@pytest.fixture(scope="module")
def small(picture: Image) -> Image:
    return np.ascontiguousarray(picture[200:320, 300:460])


@pytest.fixture(scope="module")
def originals(seeded_weights: Path, oracle: Oracle, picture: Image) -> dict[str, list[OraclePrediction]]:
    """What the original says to each call, one object at a time."""
    (answer,) = oracle.predict(
        seeded_weights, [(picture, [prompt for call in CALLS.values() for prompt in call.means])]
    )
    predictions = iter(answer.predictions)
    return {name: [next(predictions) for _ in call.means] for name, call in CALLS.items()}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_equals_the_original(
    name: str, model: SAM, picture: Image, originals: dict[str, list[OraclePrediction]]
) -> None:
    call = CALLS[name]
    detections = call.on(model, picture)
    each = 3 if call.multimask_output else 1
    assert data_of(detections, "prompt").tolist() == [prompt for prompt in range(len(call.means)) for _ in range(each)]
    logits, low, iou = (
        np.concatenate([getattr(answer, field) for answer in originals[name]]) for field in ("logits", "low_res", "iou")
    )
    assert detections.confidence is not None
    assert masks_of(detections).shape == logits.shape
    tolerance = LOGIT_TOLERANCE * np.abs(low).max()
    assert np.abs(logits[masks_of(detections) != (logits > 0)]).max(initial=0.0) <= tolerance
    assert np.abs(data_of(detections, "logits") - low).max() <= tolerance
    np.testing.assert_allclose(detections.confidence, iou, atol=1e-4 * max(1.0, np.abs(iou).max()))
    np.testing.assert_allclose(
        data_of(detections, "stability"), (logits > 1).sum((1, 2)) / (logits > -1).sum((1, 2)), atol=2e-3
    )
    for box, mask in zip(detections.xyxy, masks_of(detections), strict=True):
        ys, xs = np.nonzero(mask)
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


@pytest.mark.parametrize("name", SAME)
def test_prompts_may_be_lists_arrays_or_tensors(name: str, model: SAM, picture: Image) -> None:
    call, other = SAME[name]
    assert np.array_equal(
        data_of(call.on(model, picture), "logits"), data_of(CALLS[other].on(model, picture), "logits")
    )


@pytest.mark.parametrize("name", ["two objects", "boxes and points", "three masks", "an earlier mask and a box"])
def test_a_call_equals_the_stateless_model(name: str, model: SAM, picture: Image) -> None:
    call = CALLS[name]
    detections = call.on(model, picture)
    embedding = model.core.encode(picture)
    boxes, points, labels, masks = (
        [getattr(prompt, field) for prompt in call.means] for field in ("box", "points", "labels", "mask_input")
    )
    prompts = embedding.prompts(
        boxes=None if boxes[0] is None else boxes,
        points=None if points[0] is None else np.stack(points),
        labels=None if labels[0] is None else np.stack(labels),
        masks=None if masks[0] is None else np.stack(masks),
    )
    prediction = model.core.predict(embedding, prompts, multimask=call.multimask_output)
    answers = [answer for candidates in model.core.masks(embedding, prediction) for answer in candidates]
    for mask, answer in zip(masks_of(detections), answers, strict=True):
        assert answer.mask is not None
        assert np.array_equal(mask, answer.mask.paste(720, 1280))
    assert np.array_equal(data_of(detections, "logits"), prediction.logits.flatten(0, 1).numpy())


def test_the_calls_differ(originals: dict[str, list[OraclePrediction]]) -> None:
    """Else one call understood as another would go unnoticed."""
    different = [
        "a point",
        "a point off the object",
        "two points of one object",
        "a negative point",
        "a box",
        "a box and a point",
    ]
    answers = [originals[name][0].masks[0] for name in different]
    for first, mask in enumerate(answers):
        assert 0.02 < mask.mean() < 0.98
        for other in answers[:first]:
            assert np.count_nonzero(mask != other) > 50


def test_logits_are_the_next_calls_mask(model: SAM, picture: Image) -> None:
    (first,) = model.predict(picture, bboxes=BOX)
    (second,) = model.predict(picture, bboxes=BOX, masks=data_of(first, "logits"))
    (again,) = model.predict(picture, bboxes=BOX, masks=torch.from_numpy(data_of(first, "logits")).unsqueeze(1))
    assert len(second) == 1
    assert not np.array_equal(data_of(first, "logits"), data_of(second, "logits"))
    assert np.array_equal(data_of(again, "logits"), data_of(second, "logits"))


def test_an_object_without_a_mask_shifts_nothing(model: SAM, seeded_weights: Path, picture: Image) -> None:
    blind = SAM(seeded_weights, device="cpu")
    blind.core = Blind(model.core.network)
    for multimask, prompts in ((False, [0, 2]), (True, [0, 0, 0, 2, 2, 2])):
        (seen,) = model(picture, bboxes=[BOX, BOX, OTHER_BOX], multimask_output=multimask)
        (left,) = blind(picture, bboxes=[BOX, BOX, OTHER_BOX], multimask_output=multimask)
        assert data_of(left, "prompt").tolist() == prompts
        rest = seen[data_of(seen, "prompt") != Blind.unseen]
        assert isinstance(rest, sv.Detections)
        assert np.array_equal(masks_of(left), masks_of(rest))
        assert np.array_equal(left.xyxy, rest.xyxy)
        assert left.confidence == pytest.approx(rest.confidence)


def test_no_boxes_give_no_masks(model: SAM, small: Image) -> None:
    for nothing in (sv.Detections.empty().xyxy, np.zeros(0), np.zeros((0, 4))):
        (detections,) = model(small, bboxes=nothing)
        assert len(detections) == 0
        assert masks_of(detections).shape == (0, *small.shape[:2])
        assert set(detections.data) == {"stability", "prompt", "logits"}
    (points,) = model(small, points=np.zeros((0, 2)))
    assert len(points) == 0


def test_without_prompts_it_looks_for_everything(model: SAM, small: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    options = AutomaticOptions(points_per_side=3, pred_iou_thresh=-10, stability_score_thresh=0.3)
    monkeypatch.setattr(promptable, "AutomaticOptions", lambda: options)
    expected = generate(model.core, small, options)
    (detections,) = model(small)
    assert len(expected) > 0
    assert detections.confidence is not None
    assert len(detections) == len(expected)
    for index, found in enumerate(expected):
        assert np.array_equal(masks_of(detections)[index], found.mask.paste(*small.shape[:2]))
        assert detections.xyxy[index].tolist() == list(found.mask.xyxy)
        assert data_of(detections, "point")[index].tolist() == pytest.approx(found.point)
    assert detections.confidence.tolist() == pytest.approx([found.predicted_iou for found in expected])
    assert data_of(detections, "stability").tolist() == pytest.approx([found.stability for found in expected])


def test_each_picture_gets_its_own_masks(model: SAM, small: Image, tmp_path: Path) -> None:
    turned = np.ascontiguousarray(np.rot90(small))
    for name, image in (("b", small), ("a", turned)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    answers = model(tmp_path, bboxes=[10, 10, 60, 60])
    assert [masks_of(answer).shape[1:] for answer in answers] == [turned.shape[:2], small.shape[:2]]
    (alone,) = model.predict(str(tmp_path / "b.png"), bboxes=[10, 10, 60, 60])
    assert np.array_equal(data_of(alone, "logits"), answers[1].data["logits"])
    with pytest.raises(SourceError, match="absent"):
        model([small, tmp_path / "absent.png"], bboxes=[10, 10, 60, 60])


def test_supervision_draws_and_selects_the_result(model: SAM, picture: Image) -> None:
    (detections,) = model(picture, bboxes=[BOX, OTHER_BOX])
    drawn = sv.MaskAnnotator(color_lookup=sv.ColorLookup.INDEX).annotate(picture.copy(), detections)
    assert (drawn != picture).any(axis=2)[masks_of(detections).any(axis=0)].mean() > 0.9
    second = detections[1]
    assert isinstance(second, sv.Detections)
    assert data_of(second, "prompt").tolist() == [1]
    assert len(sv.Detections.merge([detections, second])) == 3


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (Call(points=[1, 2, 3], means=()), r"points must have the shape .* not \(1, 1, 3\)"),
        (Call(points=[[[[1, 2]]]], means=()), r"points must have the shape"),
        (Call(points=[[[1, 2], [3, 4]], [[1, 2]]], means=()), "points must be numbers in lists of equal length"),
        (Call(points=["left", "top"], means=()), "points must be numbers"),
        (Call(points=[1, float("nan")], means=()), "points must be finite"),
        (
            Call(points=[[1, 2], [3, 4]], labels=[1], means=()),
            r"labels must have the shape \(2,\), one per point, not \(1,\)",
        ),
        (
            Call(points=[[1, 2], [3, 4]], labels=[[1, 0]], means=()),
            r"labels must have the shape \(2,\), one per point, not \(1, 2\)",
        ),
        (Call(points=[[[1, 2], [3, 4]]], labels=[1, 0], means=()), r"labels must have the shape \(1, 2\)"),
        (Call(points=[1, 2], labels=[2], means=()), "labels must be 1"),
        (Call(points=[1, 2], labels=[0.5], means=()), "labels must be 1"),
        (Call(labels=[1], means=()), "labels were given without points"),
        (Call(bboxes=[1, 2, 3], means=()), r"bboxes must have the shape"),
        (Call(bboxes=[50, 10, 20, 60], means=()), r"the box 50,10,20,60 has no area"),
        (Call(bboxes=[[1, 2, 30, 40], [5, 5, 5, 9]], means=()), r"the box 5,5,5,9 has no area"),
        (
            Call(bboxes=[[1, 2, 30, 40]], points=[[1, 2], [3, 4]], means=()),
            "1 boxes and 2 sets of points do not pair up",
        ),
        (Call(bboxes=[1, 2, 30, 40], masks=np.zeros((3, 256, 256)), means=()), "1 boxes and 3 masks do not pair up"),
        (
            Call(masks=np.zeros((2, 3, 256, 256)), means=()),
            r"masks must be the logits of an earlier prediction.*not \(2, 3, 256, 256\)",
        ),
        (Call(masks=np.zeros((120, 160)), means=()), "masks must be the logits of an earlier prediction"),
    ],
)
def test_a_wrong_prompt_is_refused_in_one_line(call: Call, said: str, model: SAM, small: Image) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        call.on(model, small)
    assert "\n" not in str(caught.value)


def test_a_box_may_leave_the_picture_and_a_padding_point_may_be_anywhere(model: SAM, small: Image) -> None:
    (detections,) = model(small, bboxes=[-20, -20, 500, 60], points=[[[5, 5], [-1, 9999]]], labels=[[1, -1]])
    assert len(detections) == 1


def test_the_file_determines_the_model(model: SAM, capsys: pytest.CaptureFixture[str]) -> None:
    assert model.name == "mobilesam"
    assert model.device == torch.device("cpu")
    assert model.to("cpu") is model
    assert model.info(verbose=False).total == 9_808_452
    assert capsys.readouterr().out == ""
    model.info()
    assert "9,808,452" in capsys.readouterr().out


def test_a_bad_file_is_refused(seeded_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.pt does not exist"):
        SAM(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("nothing")
    with pytest.raises(WeightsError, match=r"text\.pt"):
        SAM(tmp_path / "text.pt")
    with pytest.raises(UsageError, match="cannot use the device 'abacus'"):
        SAM(seeded_weights, device="abacus")


def test_the_name_is_loaded_on_first_use() -> None:
    program = "import sys, streamseg; assert 'torch' not in sys.modules; assert 'SAM' in streamseg.__all__"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
