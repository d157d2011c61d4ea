from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper
from support.drawn_photographs import (
    HEIGHT,
    WIDTH,
    ellipse_bits,
    write_photographs,
    write_sequence,
)
from support.drawn_photographs import (
    mask_of as true_mask,
)

from benchmarks import nano, truth
from benchmarks.flow import FlowFinder, coverage_of, grey, mask_of, warp
from benchmarks.grabcut import grabcut
from benchmarks.nano import BoxIoU, NanoFigures, bench_nano, print_nano
from streamseg.errors import DataError
from streamseg.geometry import Box
from streamseg.masks import Bits
from streamseg.messages import Image
from streamseg.models.segmenters.nano.network_file import (
    FORMAT,
    FORMAT_KEY,
    TRAINED_ON_KEY,
    OnnxNetwork,
    shipped_network,
)
from streamseg.models.trained_on import TrainedOn, fingerprint

FRAMES = 18


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    threads = cv2.getNumThreads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nano, "_ROUNDS", 1)
        yield
    cv2.setNumThreads(threads)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sequences")
    write_sequence(folder / "moving-ellipse", FRAMES)
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs") / "data", 4).parent


@pytest.fixture(scope="module")
def figures(sequences: Path, photographs: Path) -> NanoFigures:
    steps: list[str] = []
    figures = bench_nano([sequences, photographs], None, steps.append)
    assert steps == ["timing", f"measuring {sequences / 'moving-ellipse'}", f"measuring {photographs}"]
    return figures


def network_trained_on(path: Path, photographs: list[Path]) -> Path:
    """Save the package's network with a note that it was trained on those."""
    model = onnx.load_model_from_string(shipped_network())
    del model.metadata_props[:]
    trained_on = TrainedOn(frozenset(fingerprint(photograph.read_bytes()) for photograph in photographs))
    helper.set_model_props(model, {FORMAT_KEY: FORMAT, TRAINED_ON_KEY: trained_on.encode()})
    onnx.save(model, path)
    return path


def numbers(figures: BoxIoU) -> list[float]:
    return [getattr(figures, name) for name in BoxIoU.__struct_fields__]


def test_sequences_and_photographs_are_measured_in_the_order_given(
    figures: NanoFigures, sequences: Path, photographs: Path
) -> None:
    of_sequences, of_photographs = figures.sets
    assert (of_sequences.folder, of_photographs.folder) == (str(sequences), str(photographs))
    assert (of_sequences.pictures, of_sequences.objects) == (FRAMES, FRAMES)
    assert (of_photographs.pictures, of_photographs.objects) == (4, 8)
    assert set(of_sequences.sequences) == {"moving-ellipse"}
    assert (of_photographs.sequences, of_photographs.priors) == ({}, [])


def test_ious_lie_between_0_and_1_and_easy_objects_score_well(figures: NanoFigures) -> None:
    for one in figures.sets:
        for iou in (one.iou, *one.sequences.values()):
            assert all(0 <= value <= 1 for value in numbers(iou))
        true_boxes, jittered = numbers(one.iou)[:2]
        assert true_boxes > 0.7 and jittered > 0.6
    [sequence] = figures.sets[0].sequences.values()
    assert numbers(sequence) == pytest.approx(numbers(figures.sets[0].iou))


def test_confidence_comes_from_the_same_masks(figures: NanoFigures) -> None:
    for one in figures.sets:
        sure = one.confidence
        assert sure is not None and sure.correlation is not None
        assert 0 <= sure.predicted <= 1
        assert sure.actual == pytest.approx(np.mean(numbers(one.iou)[:2]), abs=1e-6)
        assert abs(sure.predicted - sure.actual) - 1e-6 <= sure.calibration_error <= 1
        assert -1 <= sure.correlation <= 1


def test_priors_average_the_sequences_means_and_good_ones_count_separately() -> None:
    row = nano._PriorRow
    prior = nano._prior(5, [[row(0.5, 0.9, 0.97), row(0.5, 0.5, 0.6), row(0.2, 0.94, 0.95)], [row(0.8, 0.7, 0.9)]])
    assert prior.lag == 5
    assert [prior.without, prior.prior, prior.nano] == pytest.approx([0.6, 0.74, 0.87])
    assert [prior.good_prior, prior.good_nano] == pytest.approx([0.92, 0.96])
    none_good = nano._prior(5, [[row(0.5, 0.89, 0.97)]])
    assert (none_good.good_prior, none_good.good_nano) == (None, None)


def test_priors_are_five_and_fifteen_frames_old(figures: NanoFigures) -> None:
    assert [prior.lag for prior in figures.sets[0].priors] == [5, 15]
    for prior in figures.sets[0].priors:
        assert all(0 <= value <= 1 for value in (prior.without, prior.prior, prior.nano))
        assert prior.without > 0.7 and prior.nano > 0.5
        assert (prior.good_prior is None) == (prior.good_nano is None)
        assert prior.good_prior is None or 0.9 <= prior.good_prior <= 1
    near, far = figures.sets[0].priors
    assert near.prior >= far.prior - 0.1


def test_every_figure_is_finite_survives_json_and_is_printed(
    figures: NanoFigures, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert figures.file_bytes == len(shipped_network())
    assert all(
        math.isfinite(value) and value > 0
        for value in (figures.load_ms, figures.one_box_ms, figures.ten_boxes_ms, figures.grabcut_one_box_ms)
    )
    encoded = msgspec.json.encode(figures)
    for one in figures.sets:
        priors = [msgspec.structs.replace(prior, good_prior=0.9, good_nano=0.9) for prior in one.priors]
        # Only good priors may be missing here.
        assert b"null" not in msgspec.json.encode(msgspec.structs.replace(one, priors=priors))
    assert msgspec.json.decode(encoded, type=NanoFigures) == figures
    plain = msgspec.json.decode(encoded)
    assert set(plain) == {
        "machine", "file_bytes", "load_ms", "one_box_ms", "ten_boxes_ms", "grabcut_one_box_ms", "sets",
    }  # fmt: skip
    assert set(plain["sets"][0]) == {
        "folder", "pictures", "objects", "iou", "confidence", "sequences", "priors",
    }  # fmt: skip
    monkeypatch.setenv("COLUMNS", "250")
    print_nano(figures)
    printed = capsys.readouterr().out
    assert "moving-ellipse" in printed and "18 pictures, 18 objects" in printed and "lag 15" in printed


def test_photographs_of_the_training_are_left_out(figures: NanoFigures, photographs: Path, tmp_path: Path) -> None:
    weights = network_trained_on(
        tmp_path / "saw.onnx", [photographs / "images" / "1.png", photographs / "images" / "2.png"]
    )
    measured = bench_nano([photographs], weights, lambda line: None)
    [one] = measured.sets
    assert (one.pictures, one.objects) == (2, 4)
    assert measured.file_bytes == weights.stat().st_size
    every = [picture.image for picture in truth.coco_pictures(photographs, TrainedOn(frozenset()))]
    kept = [picture.image for picture in truth.coco_pictures(photographs, OnnxNetwork(weights, threads=1).trained_on)]
    assert all(np.array_equal(image, other) for image, other in zip(kept, (every[0], every[3]), strict=True))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "flat").mkdir()
    assert cv2.imwrite(str(tmp_path / "flat" / "0.png"), np.zeros((9, 9, 3), np.uint8))
    for folder in (tmp_path / "empty", tmp_path / "flat", tmp_path / "gone", tmp_path / "flat" / "0.png"):
        with pytest.raises(DataError, match="holds nothing to measure on; expected NAME/frames and NAME/masks, or"):
            bench_nano([folder], None, lambda line: None)


def test_a_sequence_needs_as_many_masks_as_frames(tmp_path: Path) -> None:
    write_sequence(tmp_path / "one", 3)
    (tmp_path / "one" / "masks" / "00001.png").unlink()
    with pytest.raises(DataError, match="holds 3 frames and 2 masks; expected as many"):
        bench_nano([tmp_path], None, lambda line: None)


def test_frames_without_the_object_are_left_out(tmp_path: Path) -> None:
    write_sequence(tmp_path / "one", 4)
    assert cv2.imwrite(str(tmp_path / "one" / "masks" / "00002.png"), np.full((HEIGHT, WIDTH, 3), 127, np.uint8))
    sequence = truth.sequences(tmp_path)["one"]
    assert [sequence.mask(place) is None for place in range(4)] == [False, False, True, False]
    pictures = list(sequence.pictures())
    assert len(pictures) == 3
    true = true_mask(ellipse_bits(HEIGHT, WIDTH, (45 + 2.5 * 3, 60), (24, 30)))
    assert pictures[2].masks[0].iou(true) == 1


def test_flow_moves_a_mask_with_its_object_and_loses_it_for_good(sequences: Path) -> None:
    sequence = truth.sequences(sequences)["moving-ellipse"]
    frames = [grey(frame.image) for frame in itertools.islice(sequence.true_frames(), 6)]
    finder = FlowFinder(HEIGHT, WIDTH)
    start, true = sequence.mask(0), sequence.mask(5)
    assert start is not None and true is not None
    coverage = coverage_of(start, HEIGHT, WIDTH)
    for before, after in itertools.pairwise(frames):
        coverage = warp(coverage, finder.find(before, after))
    moved = mask_of(coverage)
    assert moved is not None and moved.iou(true) > max(0.6, start.iou(true))
    assert mask_of(warp(coverage, np.full((HEIGHT, WIDTH, 2), -1e4, np.float32))) is None
    still = np.dstack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))).astype(np.float32)
    unmoved = mask_of(warp(coverage, still))
    assert unmoved is not None and unmoved.iou(moved) == 1


def disc(height: int, width: int, x: int, y: int, radius: int) -> tuple[Image, Bits]:
    """Draw a red disc over a grey-green texture, and return where it is."""
    random = np.random.default_rng(3)
    image = np.clip(random.normal((100, 115, 100), 12, (height, width, 3)), 0, 255).astype(np.uint8)
    inside = np.zeros((height, width), np.uint8)
    cv2.circle(inside, (x, y), radius, 1, cv2.FILLED)
    image[inside > 0] = np.clip(random.normal((40, 40, 210), 12, (int(inside.sum()), 3)), 0, 255).astype(np.uint8)
    return image, inside > 0


@pytest.mark.parametrize(("height", "width", "radius"), [(120, 160, 12), (1080, 1920, 400)])
def test_grabcut_finds_the_object_in_a_box_of_any_size(height: int, width: int, radius: int) -> None:
    x, y = width // 2 + 7, height // 2 - 5
    image, inside = disc(height, width, x, y, radius)
    box = (x - radius - 3, y - radius - 3, x + radius + 3, y + radius + 3)
    mask = grabcut(image, box)
    cv2.setRNGSeed(77)
    again = grabcut(image, box)
    assert mask is not None and again is not None and mask.iou(again) == 1
    found = mask.paste(height, width)
    assert (found & inside).sum() / (found | inside).sum() > 0.93


@pytest.mark.parametrize(
    "box",
    [(0.0, 0.0, 64.0, 48.0), (-9.0, -9.0, 99.0, 99.0), (70.0, 10.0, 90.0, 20.0), (9.0, 9.0, 3.0, 3.0)],
)
def test_grabcut_finds_nothing_in_a_box_without_background_or_object(box: Box) -> None:
    image, _ = disc(48, 64, 30, 24, 10)
    assert grabcut(image, box) is None
