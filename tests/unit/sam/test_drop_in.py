"""Code that was written for the original runs with nothing but the import changed, and gets the same answers."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage
from pycocotools import mask as mask_utils
from support.oracle import Oracle, clouds
from support.torch_speed import features_computed_once

from streamseg.errors import CheckpointError, NoImageError, UsageError
from streamseg.models.segmenters.sam.image_encoder import ImageEncoder
from streamseg.sam import (
    SamAutomaticMaskGenerator,
    SamModel,
    SamPredictor,
    build_sam,
    build_sam_vit_h,
    sam_model_registry,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLES = Path(__file__).with_name("drop_in_examples.py")
IMPORTS = {
    "from mobile_sam import": "from streamseg.sam import",
    "from mobile_sam.utils.transforms import": "from streamseg.sam.transforms import",
}
TOLERANCE = 1e-3
"""Of logits and scores, as a share of the largest magnitude."""
PIXELS = 1e-4
"""The share of a mask's pixels whose logit may lie so near to the threshold that they differ."""
OFFICIAL_KEYS = ["area", "bbox", "crop_box", "point_coords", "predicted_iou", "segmentation", "stability_score"]

Outputs = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def original(blob_weights: Path, oracle: Oracle) -> Outputs:
    return oracle.run_script(EXAMPLES, blob_weights, clouds(200, 300, seed=1))


@pytest.fixture(scope="module")
def ours(blob_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    source = EXAMPLES.read_text(encoding="utf-8")
    for theirs, own in IMPORTS.items():
        assert source.count(theirs) == 1
        source = source.replace(theirs, own)
    changed = tmp_path_factory.mktemp("drop_in") / "examples.py"
    changed.write_text(source, encoding="utf-8")
    run = runpy.run_path(str(changed), run_name="examples")["run"]
    with features_computed_once(ImageEncoder):
        outputs: Outputs = run(str(blob_weights), clouds(200, 300, seed=1))
    return outputs


@pytest.fixture(scope="module")
def model(blob_weights: Path) -> SamModel:
    return sam_model_registry["vit_t"](checkpoint=blob_weights)


@pytest.fixture(scope="module")
def predictor(model: SamModel) -> SamPredictor:
    predictor = SamPredictor(model)
    predictor.set_image(clouds(200, 300, seed=1))
    return predictor


def test_the_examples_results_are_the_originals(ours: Outputs, original: Outputs) -> None:
    assert list(ours) == list(original)
    for name, theirs in original.items():
        own = ours[name]
        assert own.shape == theirs.shape, name
        # The original's boxes are whole numbers, or floats where a crop without masks has made them so.
        assert own.dtype == theirs.dtype or name.endswith(("bbox", "crop_box")), name
        largest = float(np.abs(theirs).max()) if theirs.dtype.kind == "f" else 1.0
        if own.dtype.kind in "bf":
            print(f"{name}: {np.abs(own.astype(np.float64) - theirs).max() / largest:.1e} of the largest")
        if own.dtype.kind == "b":
            assert np.count_nonzero(own != theirs) <= PIXELS * own.size, name
        elif own.dtype.kind == "f":
            assert np.abs(own - theirs).max() <= TOLERANCE * largest, name
        elif name.endswith("area"):
            assert np.abs(own - theirs).max() <= PIXELS * 200 * 300, name
        else:
            assert np.array_equal(own, theirs), name


def test_the_examples_masks_are_not_trivial(original: Outputs) -> None:
    masks = {name: value for name, value in original.items() if value.dtype.kind == "b"}
    assert len(masks) >= 10
    shares = np.concatenate([value.mean(axis=(-2, -1)).ravel() for value in masks.values()])
    assert np.count_nonzero((shares > 0.005) & (shares < 0.9)) >= 12
    for mode in ("binary_mask", "uncompressed_rle", "coco_rle"):
        assert original[f"automatic_mask_generator_example: {mode}.keys"].ravel().tolist() == OFFICIAL_KEYS
        assert len(original[f"automatic_mask_generator_example: {mode}.masks"]) >= 3


def test_the_output_modes_hold_the_same_masks(model: SamModel) -> None:
    def found(mode: Any) -> list[Any]:
        generator = SamAutomaticMaskGenerator(
            model, 2, pred_iou_thresh=0.3, stability_score_thresh=0.05, output_mode=mode
        )
        return [record["segmentation"] for record in generator.generate(clouds(200, 300, seed=1))]

    with features_computed_once(ImageEncoder):
        modes = [found(mode) for mode in ("binary_mask", "uncompressed_rle", "coco_rle")]
    for full, runs, compressed in zip(*modes, strict=True):
        assert full.dtype == np.bool_
        assert runs["size"] == compressed["size"] == [200, 300]
        assert sum(runs["counts"]) == 200 * 300
        assert sum(runs["counts"][1::2]) == np.count_nonzero(full)
        encoded = mask_utils.encode(np.asfortranarray(full.view(np.uint8)))
        assert (
            compressed["counts"]
            == encoded["counts"].decode()
            == mask_utils.frPyObjects(runs, 200, 300)["counts"].decode()
        )


def test_the_registry_has_the_originals_names() -> None:
    assert list(sam_model_registry) == ["default", "vit_h", "vit_l", "vit_b", "vit_t"]
    assert sam_model_registry["default"] is sam_model_registry["vit_h"] is build_sam_vit_h is build_sam


def test_a_model_without_a_checkpoint_has_the_originals_attributes() -> None:
    model = sam_model_registry["vit_t"]()
    assert not model.training
    assert (model.image_encoder.img_size, model.image_format, model.mask_threshold) == (1024, "RGB", 0.0)
    assert model.to(device="cpu").eval().device == torch.device("cpu")
    assert model.preprocess(torch.zeros(3, 1024, 700)).shape == (3, 1024, 1024)
    assert model.postprocess_masks(torch.zeros(2, 3, 256, 256), (1024, 700), (512, 350)).shape == (2, 3, 512, 350)


def test_another_networks_checkpoint_is_refused(tmp_path: Path, blob_weights: Path) -> None:
    path = tmp_path / "sam_vit_b.pth"
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}, path)
    with pytest.raises(CheckpointError, match=r"is a checkpoint of sam-vit-b, not of mobilesam"):
        sam_model_registry["vit_t"](checkpoint=str(path))
    with pytest.raises(CheckpointError, match=r"is a checkpoint of mobilesam, not of sam-vit-b"):
        sam_model_registry["vit_b"](checkpoint=blob_weights)


@pytest.mark.parametrize(
    "ask",
    [
        lambda predictor: predictor.predict(box=[1, 2, 3, 4]),
        lambda predictor: predictor.predict_torch(None, None),
        SamPredictor.get_image_embedding,
    ],
)
def test_a_prompt_before_the_image_is_refused(model: SamModel, ask: Callable[[SamPredictor], object]) -> None:
    predictor = SamPredictor(model)
    with pytest.raises(NoImageError, match="give one with set_image"):
        ask(predictor)
    # What code written for the original catches.
    assert issubclass(NoImageError, RuntimeError)


def test_a_removed_image_is_refused(model: SamModel) -> None:
    predictor = SamPredictor(model)
    predictor.set_torch_image(torch.zeros(1, 3, 1024, 512, dtype=torch.uint8), (400, 200))
    assert (predictor.is_image_set, predictor.original_size, predictor.input_size) == (True, (400, 200), (1024, 512))
    predictor.reset_image()
    assert not predictor.is_image_set
    with pytest.raises(NoImageError):
        predictor.predict(box=[1, 2, 3, 4])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 30), np.uint8),
        np.zeros((20, 30, 4), np.uint8),
        np.zeros((20, 30, 3)),
        np.zeros((0, 4, 3), np.uint8),
        PilImage.new("RGB", (30, 20)),
        np.zeros((20, 30, 3), np.uint8).tolist(),
        None,
    ],
)
def test_another_kind_of_image_is_refused(model: SamModel, image: Any) -> None:
    with pytest.raises(UsageError, match=r"an image must be a \(height, width, 3\) uint8 array, not"):
        SamPredictor(model).set_image(image)
    with pytest.raises(UsageError, match=r"an image must be a \(height, width, 3\) uint8 array, not"):
        SamAutomaticMaskGenerator(model).generate(image)


def test_misuse_is_refused_in_one_line(predictor: SamPredictor, model: SamModel) -> None:
    point, label, low_res = [[10, 20]], [1], np.zeros((1, 256, 256))
    misuses: dict[str, Callable[[], object]] = {
        "must be given together": lambda: predictor.predict(point_coords=point),
        "given together": lambda: predictor.predict(point_labels=label),
        r"labels \(batch, points\), not \(1, 1, 2\) and \(1, 2\)": lambda: predictor.predict(point, [1, 0]),
        r"not \[7\]": lambda: predictor.predict(point, [7]),
        "2 boxes were given": lambda: predictor.predict(box=[[1, 2, 3, 4], [5, 6, 7, 8]]),
        "boxes must have 4 numbers": lambda: predictor.predict(box=[1, 2, 3]),
        "points must have 2 numbers": lambda: predictor.predict([[1, 2, 3]], label),
        r"earlier masks must be logits of the shape": lambda: predictor.predict(mask_input=low_res[0]),
        r"boxes must have the shape \(batch, 4\)": lambda: predictor.predict_torch(None, None, torch.zeros(4)),
        "boxes must be finite numbers": lambda: predictor.predict(box=[1, 2, float("nan"), 4]),
        "points must be finite numbers": lambda: predictor.predict([[1, float("inf")]], label),
        "earlier masks must be finite numbers": lambda: predictor.predict(mask_input=low_res + np.nan),
        "one batch size": lambda: predictor.predict_torch(torch.zeros(2, 1, 2), torch.ones(2, 1), torch.zeros(3, 4)),
        "image_format: 'HSV' is unknown": lambda: predictor.set_image(clouds(200, 300, seed=1), "HSV"),  # type: ignore[arg-type]
        "a longer side of 1024, not": lambda: predictor.set_torch_image(torch.zeros(1, 3, 500, 400), (500, 400)),
        "resize it with ResizeLongestSide": lambda: model.preprocess(torch.zeros(3, 2000, 100)),
        "output_mode: 'png' is unknown": lambda: SamAutomaticMaskGenerator(model, output_mode="png"),  # type: ignore[arg-type]
        "points_per_batch: 0": lambda: SamAutomaticMaskGenerator(model, points_per_batch=0),
    }
    for expected, misuse in misuses.items():
        with pytest.raises(UsageError, match=expected) as caught:
            misuse()
        assert "\n" not in str(caught.value)
    assert predictor.is_image_set
