"""`streamseg segment` as a process, on photographs, with the original as the judge of what it writes."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco
from support.leftovers import Place
from support.oracle import Oracle, OraclePrediction, OraclePrompt

from streamseg.images import read_image
from streamseg.segment.result import ImageRecord

LOGIT_TOLERANCE = 1e-3
"""As a share of the largest magnitude."""
TIMEOUT_S = 240


@pytest.fixture(scope="module")
def cat() -> Path:
    return Path(str(files("skimage.data") / "chelsea.png"))


@pytest.fixture(scope="module")
def cup() -> Path:
    return Path(str(files("skimage.data") / "coffee.png"))


def segment(place: Place, *arguments: str | Path) -> str:
    """Run the command, which must succeed, and return what it prints."""
    with place.run("segment", *map(str, arguments)) as run:
        status, output, errors = run.finish(TIMEOUT_S)
    assert status == 0, errors
    return output


def refuse(place: Place, status: int, *arguments: str | Path) -> str:
    """Run the command, which must fail in one line and write nothing."""
    with place.run("segment", *map(str, arguments), "--output", "out") as run:
        found, output, errors = run.finish(TIMEOUT_S)
    assert found == status, errors
    assert output == ""
    (line,) = [line for line in errors.splitlines() if not line.startswith("fetching ")]
    assert not (place.folder / "out").exists()
    return line


def record_of(folder: Path) -> ImageRecord:
    return msgspec.json.decode((folder / "masks.json").read_bytes(), type=ImageRecord)


def masks_of(folder: Path, record: ImageRecord) -> list[NDArray[np.bool_]]:
    """The masks as COCO's tools read them, which must be those in the files."""
    masks = []
    for mask in record.masks:
        decoded = coco.decode(mask.segmentation)
        picture = cv2.imread(str(folder / mask.file), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        assert np.array_equal(np.asarray(picture), decoded * 255)
        masks.append(np.asarray(decoded, np.bool_))
    return masks


def check_like_the_original(folder: Path, predictions: list[OraclePrediction]) -> None:
    """Every mask, score and logit of a result."""
    record = record_of(folder)
    logits = np.load(folder / "logits.npy")
    tolerance = LOGIT_TOLERANCE * max(float(np.abs(one.low_res).max()) for one in predictions)
    assert np.abs(logits - np.stack([one.low_res for one in predictions])).max() <= tolerance
    expected = [(place, candidate) for place, one in enumerate(predictions) for candidate in range(len(one.masks))]
    assert [(mask.object, mask.candidate) for mask in record.masks] == expected
    for said, bits in zip(record.masks, masks_of(folder, record), strict=True):
        original = predictions[said.object]
        assert bits.shape == (record.height, record.width)
        assert (
            np.abs(original.logits[said.candidate][bits != original.masks[said.candidate]]).max(initial=0.0)
            <= tolerance
        )
        assert said.predicted_iou == pytest.approx(original.iou[said.candidate], abs=1e-3)
        assert said.area == np.count_nonzero(bits)


def at(
    *points: tuple[float, float, int],
    box: tuple[float, float, float, float] | None = None,
    mask_input: NDArray[np.float32] | None = None,
    multimask: bool = False,
) -> OraclePrompt:
    """A prompt for one object; points are x, y and label."""
    positions = np.array([point[:2] for point in points], np.float32)
    labels = np.array([point[2] for point in points])
    return OraclePrompt(points=positions, labels=labels, box=box, mask_input=mask_input, multimask=multimask)


def test_boxes_and_points_of_two_objects(place: Place, seeded_weights: Path, oracle: Oracle, shared_data: Path) -> None:
    dog = shared_data / "images" / "dog.jpg"
    boxes = ("--box", "128,222,310,540", "--box", "460.5,70,690,172")
    points = ("--points", "210,330 600,100,0", "--points", "530,110")
    output = segment(place, dog, *boxes, *points, "--model", seeded_weights, "--output", "out")
    assert output == "dog.jpg: 2 masks in out/dog\n"
    folder = place.folder / "out" / "dog"
    prompts = [at((210, 330, 1), (600, 100, 0), box=(128, 222, 310, 540)), at((530, 110, 1), box=(460.5, 70, 690, 172))]
    (original,) = oracle.predict(seeded_weights, [(read_image(dog), prompts)])
    check_like_the_original(folder, original.predictions)
    assert read_image(folder / "overlay.jpg").shape == (576, 768, 3)


def test_all_prompts_at_once_on_several_pictures(
    place: Place, seeded_weights: Path, oracle: Oracle, cat: Path, cup: Path
) -> None:
    earlier = np.random.default_rng(0).normal(0, 8, (1, 1, 256, 256)).astype(np.float32)
    np.save(place.folder / "logits.npy", earlier)
    asked = ("--box", "100,50,400,300", "--points", "200,150", "--mask-input", "logits.npy", "--multimask")
    output = segment(place, cat, cup, *asked, "--model", seeded_weights, "--output", "out")
    assert output == "chelsea.png: 3 masks in out/chelsea\ncoffee.png: 3 masks in out/coffee\n"
    prompt = at((200, 150, 1), box=(100, 50, 400, 300), mask_input=earlier[0], multimask=True)
    (answer,) = oracle.predict(seeded_weights, [(read_image(cup), [prompt])])
    check_like_the_original(place.folder / "out" / "coffee", answer.predictions)
    for folder in (place.folder / "out").iterdir():
        (said,) = record_of(folder).prompts
        assert (said.box, said.points, said.labels, said.mask_input) == ([100, 50, 400, 300], [[200, 150]], [1], True)


def test_everything(place: Place, seeded_weights: Path, cat: Path) -> None:
    small = place.folder / "cat.png"
    cv2.imwrite(str(small), read_image(cat)[::3, ::3])
    settings = (
        "--points-per-side",
        "2",
        "--pred-iou-thresh",
        "-9",
        "--stability-score-thresh",
        "0.3",
        "--min-mask-region-area",
        "4",
    )
    output = segment(place, small, "--everything", *settings, "--model", seeded_weights, "--output", "out")
    folder = place.folder / "out" / "cat"
    record = record_of(folder)
    assert len(record.masks) >= 1
    assert output == f"cat.png: {len(record.masks)} mask{'s' if len(record.masks) > 1 else ''} in out/cat\n"
    assert [mask.object for mask in record.masks] == list(range(len(record.masks)))
    assert len(masks_of(folder, record)) == len(record.prompts)
    for prompt in record.prompts:
        assert prompt.points is not None
        ((x, y),) = prompt.points
        assert 0 < x < record.width
        assert 0 < y < record.height
    assert not (folder / "logits.npy").exists()


def test_nothing_asked_for(place: Place, cat: Path) -> None:
    assert refuse(place, 2, cat) == "streamseg: no prompt; give --box X1,Y1,X2,Y2, --points X,Y or --everything"


def test_a_picture_that_cannot_be_read(place: Place, cat: Path) -> None:
    (place.folder / "text.jpg").write_text("no picture")
    assert "text.jpg is not a picture" in refuse(place, 3, cat, "text.jpg", "--points", "20,20")


def test_weights_that_cannot_be_had(place: Place, cat: Path) -> None:
    assert "mobilesam are not available" in refuse(place, 4, cat, "--points", "20,20")
