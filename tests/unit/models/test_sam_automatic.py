"""Everything mode finds what the original's does: the same masks, in the same order, with the same numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.oracle import Oracle, OracleMasks, clouds
from support.quick_features import quick_features
from torch import Tensor

from streamseg.errors import UsageError
from streamseg.messages import Image
from streamseg.models.segmenters.resizing import resized_size
from streamseg.models.segmenters.sam import ImageEmbedding, Prediction, Prompts, Sam
from streamseg.models.segmenters.sam.automatic import AutomaticOptions, FoundMask, generate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LOGIT_TOLERANCE = 1e-3


def random_grid(count: int) -> NDArray[np.float64]:
    return np.random.default_rng(count).uniform(0, 1, (count, 2))


CASES = {
    "one grid": AutomaticOptions(
        points_per_side=6, points_per_batch=24, pred_iou_thresh=0.5, stability_score_thresh=0.1, box_nms_thresh=0.8
    ),
    "crops": AutomaticOptions(
        points_per_side=4, pred_iou_thresh=0.3, stability_score_thresh=0.05, stability_score_offset=0.7,
        box_nms_thresh=0.95,
        crop_n_layers=1, crop_n_points_downscale_factor=2,
    ),
    "small regions": AutomaticOptions(
        points_per_side=4, points_per_batch=6, pred_iou_thresh=0.5, stability_score_thresh=0.1, box_nms_thresh=0.9,
        min_mask_region_area=150,
    ),
    "own grids": AutomaticOptions(
        points_per_side=None, point_grids=[random_grid(6), random_grid(4)], pred_iou_thresh=0.3,
        stability_score_thresh=0.05,
        crop_n_layers=1, crop_overlap_ratio=0.5, crop_nms_thresh=0.9, min_mask_region_area=20,
    ),
    "no filters": AutomaticOptions(points_per_side=3, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1),
}  # fmt: skip
COVERING = ("crops", "small regions", "own grids", "no filters")
"""Cases that together meet every option."""
# The masks of random weights lie all over a crop: only where its edges are near the picture's does none cut them off.
SIZES = {
    "one grid": (200, 300),
    "crops": (36, 50),
    "small regions": (200, 300),
    "own grids": (60, 44),
    "no filters": (120, 90),
}


@dataclass(frozen=True, eq=False)
class Pair:
    """Our model and what the original finds."""

    model: Sam
    original: dict[str, OracleMasks]


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, blob_weights: Path, oracle: Oracle) -> Pair:
    cases = CASES if request.config.getoption("full") else COVERING
    answers = oracle.generate(blob_weights, [(clouds(*SIZES[case], seed=1), CASES[case]) for case in cases])
    model = Sam.load(blob_weights, threads=1)
    vars(model.network.image_encoder)["forward"] = quick_features
    return Pair(model, dict(zip(cases, answers, strict=True)))


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case in COVERING else [pytest.mark.full]) for case in CASES]
)
def test_the_masks_are_the_originals(pair: Pair, case: str) -> None:
    options, original = CASES[case], pair.original[case]
    # The original lists empty masks too where no filter keeps them out.
    wanted = np.flatnonzero(original.masks.any(axis=(1, 2)))
    ours = generate(pair.model, clouds(*SIZES[case], seed=1), options)
    assert len(ours) == len(wanted)
    wrong, near, worst = 0, 0.0, 0.0
    for found, index in zip(ours, wanted, strict=True):
        logits = original.logits[index]
        differs = found.mask.paste(*SIZES[case]) != original.masks[index]
        inside = logits[np.isfinite(logits)]
        share = float(np.abs(logits[differs]).max(initial=0.0) / np.abs(inside).max())
        assert share <= LOGIT_TOLERANCE
        wrong, near = wrong + int(np.count_nonzero(differs)), max(near, share)
        worst = max(
            worst,
            abs(found.predicted_iou - original.predicted_iou[index]),
            abs(found.stability - original.stability_score[index]),
        )
        assert xywh(found.box) == original.bbox[index].tolist()
        assert xywh(found.crop_box) == original.crop_box[index].tolist()
        assert found.point == pytest.approx(original.point[index])
    print(
        f"{case}: {len(ours)} masks, {wrong} pixels differ, at logits up to {near:.1e}; "
        f"predicted IoU and stability by {worst:.1e}"
    )
    assert worst <= 1e-3


def test_the_masks_compared_are_not_trivial(pair: Pair) -> None:
    for case, found in pair.original.items():
        options = CASES[case]
        asked = sum(len(options.grid(layer)) * 4**layer for layer in range(options.crop_n_layers + 1)) * 3
        assert 4 <= len(found.bbox) <= asked / 2 or case == "no filters"
    assert len(np.unique(pair.original["crops"].crop_box, axis=0)) >= 3
    assert len(np.unique(pair.original["own grids"].crop_box, axis=0)) >= 2
    cleaned = pair.original["small regions"]
    changed = [
        np.count_nonzero((logits > 0) != mask) for mask, logits in zip(cleaned.masks, cleaned.logits, strict=True)
    ]
    assert np.count_nonzero(changed) >= 2
    assert not pair.original["no filters"].masks.any(axis=(1, 2)).all()


def xywh(box: tuple[int, int, int, int]) -> list[int]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


class Discs(Sam):
    """Returns three discs around each point, with known radii in pixels of the picture and known predicted IoU."""

    def __init__(self, radii: Sequence[float], predicted_iou: Sequence[float] = (0.9, 0.95, 0.99)) -> None:
        self.radii = torch.tensor(radii)
        self.predicted_iou = torch.tensor(predicted_iou)
        self.batches: list[int] = []

    def encode(self, image: Image) -> ImageEmbedding:
        size = (image.shape[0], image.shape[1])
        return ImageEmbedding(torch.zeros(1), size, resized_size(size))

    def predict(self, embedding: ImageEmbedding, prompts: Prompts, *, multimask: bool) -> Prediction:
        assert multimask
        assert prompts.points is not None
        self.batches.append(prompts.batch)
        places = (torch.arange(256) + 0.5) * 4
        distance = torch.hypot(places - prompts.points[:, :, :1], places[:, None] - prompts.points[:, :, 1:]).unsqueeze(
            1
        )
        radii: Tensor = self.radii * max(embedding.resized_size) / max(embedding.original_size)
        return Prediction((radii.view(3, 1, 1) - distance) / 4, self.predicted_iou.expand(prompts.batch, 3))


def black(height: int, width: int) -> Image:
    return np.zeros((height, width, 3), np.uint8)


def open_options(points_per_side: int, *, crop_n_layers: int = 0) -> AutomaticOptions:
    return AutomaticOptions(
        points_per_side=points_per_side, points_per_batch=5, stability_score_thresh=0.0, crop_n_layers=crop_n_layers
    )  # fmt: skip


def test_of_the_masks_of_one_place_the_one_with_the_best_predicted_iou_is_kept() -> None:
    found = generate(Discs((40, 39, 41)), black(200, 300), open_options(1))
    (only,) = found
    assert only.predicted_iou == pytest.approx(0.99)
    assert only.point == (150.0, 100.0)
    assert only.box == pytest.approx((109, 59, 190, 140), abs=2)
    assert only.mask.area == pytest.approx(math.pi * 41**2, rel=0.02)


def test_nothing_found_is_an_empty_list() -> None:
    untrusted = Discs((40, 39, 41), (0.1, 0.1, 0.1))
    empty = Discs((-500, -500, -500))
    for model in (untrusted, empty):
        assert generate(model, black(200, 300), open_options(2)) == []
        assert generate(model, black(200, 300), open_options(2, crop_n_layers=1)) == []
    assert generate(empty, black(200, 300), AutomaticOptions(points_per_side=2)) == []


def test_unstable_masks_are_dropped() -> None:
    # A disc of radius 3 has an edge as wide as itself.
    assert generate(Discs((3, 3, 3)), black(1024, 1024), AutomaticOptions(points_per_side=1)) == []
    assert len(generate(Discs((450, 450, 450)), black(1024, 1024), AutomaticOptions(points_per_side=1))) == 1


def test_masks_that_a_crop_cuts_off_are_dropped_and_those_at_the_pictures_edge_kept() -> None:
    found = generate(Discs((60, 60, 60)), black(400, 400), open_options(2, crop_n_layers=1))
    crops = {mask.crop_box for mask in found}
    assert (0, 0, 400, 400) not in crops or len(crops) > 1
    for mask in found:
        for side, edge, outermost in zip(mask.box, mask.crop_box, (0, 0, 400, 400), strict=True):
            assert abs(side - edge) > 20 or abs(side - outermost) <= 20
    assert any(mask.box[0] <= 1 for mask in generate(Discs((60, 60, 60)), black(200, 200), open_options(4)))


@pytest.mark.parametrize(("last_column", "kept"), [(235, True), (236, False), (255, False)])
def test_a_mask_is_cut_off_within_twenty_pixels_of_its_crops_edge(last_column: int, kept: bool) -> None:
    class Drawn(Discs):
        def predict(self, embedding: ImageEmbedding, prompts: Prompts, *, multimask: bool) -> Prediction:
            low = torch.full((256, 256), -10.0)
            low[40:120, 40 : last_column + 1] = 10.0
            return Prediction(low.expand(prompts.batch, 3, 256, 256), self.predicted_iou.expand(prompts.batch, 3))

    options = AutomaticOptions(points_per_side=1, crop_n_layers=1, crop_overlap_ratio=0.0)
    found = generate(Drawn((1, 1, 1)), black(512, 512), options)
    assert [mask.box for mask in found if mask.crop_box == (0, 0, 256, 256)] == [(40, 40, last_column, 119)] * kept


def test_a_picture_smaller_than_the_grid_and_its_crops() -> None:
    for height, width in ((1, 1), (3, 5), (2, 40), (400, 1)):
        found = generate(Discs((1, 2, 3)), black(height, width), open_options(2, crop_n_layers=2))
        assert all(mask.mask.inside(height, width) for mask in found)
        assert found


def test_progress_counts_the_points_of_all_crops() -> None:
    told: list[tuple[int, int]] = []
    options = AutomaticOptions(points_per_side=4, points_per_batch=5, crop_n_layers=1, crop_n_points_downscale_factor=2)
    model = Discs((40, 39, 41))
    generate(model, black(100, 100), options, lambda done, total: told.append((done, total)))
    assert told == [(done, 32) for done in (0, 5, 10, 15, 16, 20, 24, 28, 32)]
    assert model.batches == [5, 5, 5, 1, 4, 4, 4, 4]


def test_small_holes_are_filled_and_small_parts_removed() -> None:
    class Drawn(Discs):
        def predict(self, embedding: ImageEmbedding, prompts: Prompts, *, multimask: bool) -> Prediction:
            low = torch.full((256, 256), -10.0)
            low[40:120, 40:120] = 10.0
            low[60:70, 60:70] = -10.0
            low[80:84, 80:84] = -10.0
            low[200:203, 200:203] = 10.0
            return Prediction(low.expand(prompts.batch, 3, 256, 256), self.predicted_iou.expand(prompts.batch, 3))

    (found,) = generate(Drawn((1, 1, 1)), black(256, 256), AutomaticOptions(points_per_side=1, min_mask_region_area=50))
    assert found.box == (40, 40, 119, 119)
    assert found.mask.area == 80 * 80 - 10 * 10
    (largest,) = generate(
        Drawn((1, 1, 1)), black(256, 256), AutomaticOptions(points_per_side=1, min_mask_region_area=7000)
    )
    assert largest.mask.area == 80 * 80


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_another_kind_of_array_is_refused(image: Image) -> None:
    with pytest.raises(UsageError, match=r"an image must be a \(height, width, 3\) uint8 array, not"):
        generate(Discs((1, 2, 3)), image, AutomaticOptions())


def refusal(**given: object) -> str:
    with pytest.raises(UsageError) as caught:
        AutomaticOptions(**given)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_settings_out_of_range_are_named() -> None:
    for name in ("points_per_side", "points_per_batch", "crop_n_points_downscale_factor"):
        assert refusal(**{name: 0}).startswith(name)
    for name in ("stability_score_offset", "crop_n_layers", "min_mask_region_area"):
        assert refusal(**{name: -1}).startswith(f"{name}: -1 is out of range; expected a number at least 0")
    for name in ("box_nms_thresh", "crop_nms_thresh", "crop_overlap_ratio"):
        assert refusal(**{name: 1.1}) == f"{name}: 1.1 is out of range; expected a number from 0 to 1"
    for name in ("pred_iou_thresh", "stability_score_thresh"):
        assert refusal(**{name: math.nan}).startswith(name)
    assert "last layer" in refusal(points_per_side=4, crop_n_layers=3, crop_n_points_downscale_factor=2)


def test_grids_are_checked() -> None:
    grid = random_grid(3)
    assert "exactly one" in refusal(points_per_side=None)
    assert "exactly one" in refusal(point_grids=[grid])
    assert refusal(points_per_side=None, point_grids=[grid], crop_n_layers=1).startswith(
        "point_grids: 1 given; expected"
    )
    for wrong in (grid * 100, grid[:, :1], grid[0], np.full((2, 2), np.nan)):
        assert "numbers from 0 to 1" in refusal(points_per_side=None, point_grids=[wrong])
    assert AutomaticOptions(points_per_side=None, point_grids=[grid]).grid(0).tolist() == grid.tolist()


def test_a_found_masks_box_is_its_rectangle() -> None:
    (found,) = generate(Discs((40, 39, 41)), black(200, 300), open_options(1))
    assert isinstance(found, FoundMask)
    rows, columns = np.nonzero(found.mask.paste(200, 300))
    assert found.box == (columns.min(), rows.min(), columns.max(), rows.max())
