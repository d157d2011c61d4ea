from __future__ import annotations

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
    mask_of,
    photograph,
    write_photographs,
    write_sequence,
)

from benchmarks import carried, nano, truth
from benchmarks.nano import bench_nano
from benchmarks.nano_figures import BoxIoU, NanoFigures, SetFigures
from benchmarks.nano_rows import print_nano
from streamseg.errors import CheckpointError, DataError
from streamseg.models.segmenters.nano.network_file import (
    FORMAT,
    FORMAT_KEY,
    TRAINED_ON_KEY,
    OnnxNetwork,
    TrainedOn,
    fingerprint,
    shipped_network,
)

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
    said: list[str] = []
    figures = bench_nano([sequences, photographs], None, said.append)
    assert said == ["timing", f"measuring {sequences / 'moving-ellipse'}", f"measuring {photographs}"]
    return figures


def network_that_saw(path: Path, photographs: list[Path]) -> Path:
    """The package's network with a note that it was trained on those."""
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


def test_ious_lie_between_0_and_1_and_what_is_easy_is_drawn_well(figures: NanoFigures) -> None:
    for one in figures.sets:
        for iou in (one.iou, *one.sequences.values()):
            assert all(0 <= value <= 1 for value in numbers(iou))
        true_boxes, jittered = numbers(one.iou)[:2]
        assert true_boxes > 0.7 and jittered > 0.6
    [sequence] = figures.sets[0].sequences.values()
    assert numbers(sequence) == pytest.approx(numbers(figures.sets[0].iou))


def test_confidence_is_measured_on_the_same_masks(figures: NanoFigures) -> None:
    for one in figures.sets:
        sure = one.confidence
        assert sure is not None and sure.correlation is not None
        assert 0 <= sure.predicted <= 1
        assert sure.actual == pytest.approx(np.mean(numbers(one.iou)[:2]), abs=1e-6)
        assert abs(sure.predicted - sure.actual) - 1e-6 <= sure.calibration_error <= 1
        assert -1 <= sure.correlation <= 1


def test_priors_are_means_of_the_sequences_means_and_good_ones_are_counted_by_themselves() -> None:
    row = nano._PriorRow
    prior = nano._prior(5, [[row(0.5, 0.9, 0.97), row(0.5, 0.5, 0.6), row(0.2, 0.94, 0.95)], [row(0.8, 0.7, 0.9)]])
    assert prior.lag == 5
    assert [prior.without, prior.prior, prior.nano] == pytest.approx([0.6, 0.74, 0.87])
    assert [prior.good_prior, prior.good_nano] == pytest.approx([0.92, 0.96])
    none_good = nano._prior(5, [[row(0.5, 0.89, 0.97)]])
    assert (none_good.good_prior, none_good.good_nano) == (None, None)


def test_priors_are_carried_over_five_and_fifteen_frames(figures: NanoFigures) -> None:
    assert [prior.lag for prior in figures.sets[0].priors] == [5, 15]
    for prior in figures.sets[0].priors:
        assert all(0 <= value <= 1 for value in (prior.without, prior.prior, prior.nano))
        assert prior.without > 0.7 and prior.nano > 0.5
        assert (prior.good_prior is None) == (prior.good_nano is None)
        assert prior.good_prior is None or 0.9 <= prior.good_prior <= 1
    near, far = figures.sets[0].priors
    assert near.prior >= far.prior - 0.1


def test_every_figure_is_finite_and_comes_back_from_json(figures: NanoFigures) -> None:
    assert figures.file_bytes == len(shipped_network())
    assert all(
        math.isfinite(value) and value > 0
        for value in (figures.load_ms, figures.one_box_ms, figures.ten_boxes_ms, figures.grabcut_one_box_ms)
    )
    encoded = msgspec.json.encode(figures)
    for one in figures.sets:
        priors = [msgspec.structs.replace(prior, good_prior=0.9, good_nano=0.9) for prior in one.priors]
        # Of good priors there may be none; of all else there is some here.
        assert b"null" not in msgspec.json.encode(msgspec.structs.replace(one, priors=priors))
    assert msgspec.json.decode(encoded, type=NanoFigures) == figures


def test_the_same_folder_gives_the_same_figures(figures: NanoFigures, photographs: Path) -> None:
    [again] = bench_nano([photographs], None, lambda line: None).sets
    assert again == figures.sets[1]


def test_photographs_that_the_network_saw_are_left_out(figures: NanoFigures, photographs: Path, tmp_path: Path) -> None:
    weights = network_that_saw(
        tmp_path / "saw.onnx", [photographs / "images" / "1.png", photographs / "images" / "2.png"]
    )
    measured = bench_nano([photographs], weights, lambda line: None)
    [one] = measured.sets
    assert (one.pictures, one.objects) == (2, 4)
    assert measured.file_bytes == weights.stat().st_size
    every = [picture.image for picture in truth.photographs(photographs, TrainedOn(frozenset()))]
    kept = [picture.image for picture in truth.photographs(photographs, OnnxNetwork(weights, threads=1).trained_on)]
    assert all(np.array_equal(image, other) for image, other in zip(kept, (every[0], every[3]), strict=True))


def test_figures_are_printed(
    figures: NanoFigures, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    print_nano(figures)
    printed = capsys.readouterr().out
    assert "moving-ellipse" in printed and "18 pictures, 18 objects" in printed and "4 pictures, 8 objects" in printed
    assert "carried over 15 frames" in printed and "calibration error" in printed


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


def test_instances_that_are_not_coco_are_refused(tmp_path: Path) -> None:
    (tmp_path / "instances.json").write_text("{}")
    with pytest.raises(DataError, match="is not a COCO file of instances"):
        bench_nano([tmp_path], None, lambda line: None)


def test_weights_must_be_nanos(tmp_path: Path, photographs: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"something else")
    with pytest.raises(CheckpointError, match=r"other\.onnx cannot be read as a network of nano"):
        bench_nano([photographs], tmp_path / "other.onnx", lambda line: None)


def test_photographs_are_given_with_their_masks(photographs: Path) -> None:
    assert truth.is_photographs(photographs) and not truth.is_photographs(photographs / "images")
    for number, picture in enumerate(truth.photographs(photographs, TrainedOn(frozenset()))):
        image, masks = photograph(number)
        assert np.array_equal(picture.image, image)
        assert [mask.iou(true) for mask, true in zip(picture.masks, masks, strict=True)] == [1, 1]


def test_frames_without_the_object_are_left_out(tmp_path: Path) -> None:
    write_sequence(tmp_path / "one", 4)
    assert cv2.imwrite(str(tmp_path / "one" / "masks" / "00002.png"), np.full((HEIGHT, WIDTH, 3), 127, np.uint8))
    sequence = truth.sequences(tmp_path)["one"]
    assert [sequence.mask(place) is None for place in range(4)] == [False, False, True, False]
    pictures = list(sequence.pictures())
    assert len(pictures) == 3
    true = mask_of(ellipse_bits(HEIGHT, WIDTH, (45 + 2.5 * 3, 60), (24, 30)))
    assert pictures[2].masks[0].iou(true) == 1


def test_flow_carries_a_mask_along_and_loses_it_for_good(sequences: Path) -> None:
    sequence = truth.sequences(sequences)["moving-ellipse"]
    path = carried.flows(sequence)
    assert len(path) == FRAMES - 1 and path[0].shape == (HEIGHT, WIDTH, 2)
    start = sequence.mask(0)
    assert start is not None
    later = list(carried.carried(start, path[:5]))
    true = sequence.mask(5)
    assert len(later) == 5 and later[4] is not None and true is not None
    assert later[4].iou(true) > max(0.6, start.iou(true))
    far_away = np.full((HEIGHT, WIDTH, 2), -1e4, np.float32)
    assert list(carried.carried(start, [far_away, path[0]])) == [None, None]


def test_a_still_scene_leaves_a_mask_where_it_is() -> None:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    still = np.dstack((columns, rows))
    mask = mask_of(ellipse_bits(HEIGHT, WIDTH, (70, 50), (30, 20)))
    for later in carried.carried(mask, [still] * 3):
        assert later is not None and later.iou(mask) == 1


@pytest.mark.parametrize("frames", [4, 12])
def test_short_sequences_are_measured_too(tmp_path: Path, frames: int) -> None:
    write_sequence(tmp_path / "short", frames)
    [one] = bench_nano([tmp_path], None, lambda line: None).sets
    assert (one.pictures, one.objects) == (frames, frames)


def test_a_folder_that_the_network_saw_whole_is_no_failure_of_the_program(photographs: Path, tmp_path: Path) -> None:
    weights = network_that_saw(tmp_path / "saw.onnx", sorted((photographs / "images").iterdir()))
    try:
        [one] = bench_nano([photographs], weights, lambda line: None).sets
    except DataError:
        return
    assert isinstance(one, SetFigures) and one.pictures == 0


def test_a_sequence_without_masks_is_refused(tmp_path: Path) -> None:
    write_sequence(tmp_path / "one", 2)
    for path in (tmp_path / "one" / "masks").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="masks"):
        bench_nano([tmp_path], None, lambda line: None)
