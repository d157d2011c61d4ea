from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from support.drawn_photographs import HEIGHT, WIDTH, write_photographs, write_sequence
from typer.testing import CliRunner

from benchmarks import propagate
from benchmarks.__main__ import app
from benchmarks.propagate import LagFigures, MeanIoU, PropagateFigures, bench_propagate, print_propagate
from benchmarks.scenes import FIVE_OBJECTS, KINDS, Kind, film
from benchmarks.truth import TrueFrame
from benchmarks.ways import MovedMask, Step, warp_with_box
from streamseg.errors import DataError
from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Image

FRAMES = 18


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Measure one film of two scenes, and time few frames."""
    threads = cv2.getNumThreads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(propagate, "KINDS", tuple(kind for kind in KINDS if kind.name in ("translation", "crossing")))
        patch.setattr(propagate, "film", short_film)
        patch.setattr(propagate, "_SEEDS", 1)
        patch.setattr(propagate, "_BLOCK", 3)
        patch.setattr(propagate, "_BLOCKS", 1)
        patch.setattr(propagate, "_WARM_UP_BLOCKS", 0)
        yield
    cv2.setNumThreads(threads)


BACKDROPS: list[tuple[int, ...] | None] = []


def short_film(kind: Kind, seed: int, backdrop: Image | None = None, frames: int = 7) -> Iterator[TrueFrame]:
    if kind is not FIVE_OBJECTS:
        BACKDROPS.append(None if backdrop is None else backdrop.shape)
    return film(kind, seed, backdrop, frames)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sequences")
    write_sequence(folder / "long", FRAMES)
    write_sequence(folder / "short", 4)
    return folder


@pytest.fixture(scope="module")
def figures(sequences: Path) -> PropagateFigures:
    steps: list[str] = []
    BACKDROPS.clear()
    figures = bench_propagate([sequences], steps.append)
    scenes = ["measuring scene translation, 1 of 1", "measuring scene crossing, 1 of 1"]
    assert steps == ["timing", f"measuring {sequences / 'long'}", f"measuring {sequences / 'short'}", *scenes]
    return figures


def values(iou: MeanIoU) -> tuple[float, ...]:
    return tuple(msgspec.structs.astuple(iou))


def test_keys_of_the_json_and_the_printed_tables(
    figures: PropagateFigures, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = msgspec.json.encode(figures)
    assert msgspec.json.decode(encoded, type=PropagateFigures) == figures
    plain = msgspec.json.decode(encoded)
    assert set(plain) == {"machine", "ms_per_frame", "frames_timed", "folders", "scenes"}
    assert set(plain["ms_per_frame"]) == {"flow", "box", "ours", "ours_refined"}
    for footage in (*plain["folders"], plain["scenes"]):
        assert set(footage) == {"of", "keyframe_interval", "parts", "mean", "calibration"}
        assert set(footage["calibration"]) == {"predicted", "actual"}
        for lag in (*footage["mean"], *(lag for lags in footage["parts"].values() for lag in lags)):
            assert set(lag) == {"lag", "masks", "iou"}
            assert set(lag["iou"]) == {"frozen", "flow", "box", "ours", "ours_refined"}
    monkeypatch.setenv("COLUMNS", "250")
    print_propagate(figures)
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("long", "short", "crossing", "ours_refined", "predicted IoU"))


def test_lags_longer_than_a_sequence_are_left_out(figures: PropagateFigures, sequences: Path) -> None:
    (folder,) = figures.folders
    assert (folder.of, folder.keyframe_interval) == (str(sequences), 10)
    assert {name: [(one.lag, one.masks) for one in lags] for name, lags in folder.parts.items()} == {
        "long": [(1, 2), (5, 2), (15, 1)],
        "short": [(1, 1)],
    }
    assert [(one.lag, one.masks) for one in folder.mean] == [(1, 3), (5, 2), (15, 1)]
    long, short = folder.parts["long"][0], folder.parts["short"][0]
    assert values(folder.mean[0].iou) == pytest.approx(np.mean([values(long.iou), values(short.iou)], axis=0))


def test_masks_are_as_good_as_each_way_allows(figures: PropagateFigures) -> None:
    """The ellipse is 48 pixels wide and goes 2.5 pixels a frame, without changing its shape."""
    near, _, far = figures.folders[0].parts["long"]
    assert all(0.75 < value <= 1 for value in values(near.iou))
    assert 0 < far.iou.frozen < 0.2
    assert far.iou.box > 0.95
    assert far.iou.frozen < far.iou.flow and far.iou.ours > 0.85 and far.iou.ours_refined > 0.85


def test_scenes_are_drawn_over_the_sequences_first_pictures(figures: PropagateFigures) -> None:
    assert figures.scenes.of == "scenes"
    assert BACKDROPS[:2] == [(HEIGHT, WIDTH, 3)] * 2
    assert {name: [(one.lag, one.masks) for one in lags] for name, lags in figures.scenes.parts.items()} == {
        "translation": [(1, 1), (5, 1)],
        "crossing": [(1, 2), (5, 2)],
    }
    for lags in figures.scenes.parts.values():
        assert all(one.iou.ours > 0.8 and one.iou.ours_refined > 0.8 for one in lags)


def test_calibration_compares_predicted_with_actual_iou(figures: PropagateFigures) -> None:
    sure = figures.folders[0].calibration
    assert sure is not None and 0.5 < sure.predicted <= 1
    refined = [one.iou.ours_refined * one.masks for lags in figures.folders[0].parts.values() for one in lags]
    assert sure.actual == pytest.approx(sum(refined) / 6)


def test_each_way_is_timed_on_the_same_frames(figures: PropagateFigures) -> None:
    assert figures.frames_timed == 2
    assert all(time > 0 for time in msgspec.structs.astuple(figures.ms_per_frame))


def test_without_folders_scenes_have_drawn_backdrops() -> None:
    BACKDROPS.clear()
    figures = bench_propagate([], lambda line: None)
    assert figures.folders == [] and set(figures.scenes.parts) == {"translation", "crossing"}
    assert BACKDROPS == [None, None]


def disc(x: int) -> Mask:
    mask = Mask.crop(cv2.circle(np.zeros((60, 90), np.uint8), (x, 30), 10, (1,), cv2.FILLED))
    assert mask is not None
    return mask


class Fixed:
    """Returns fixed masks for three objects."""

    def __init__(self, _: int, start: TrueFrame) -> None:
        assert len(start.masks) == 3

    def update(self, step: Step) -> list[MovedMask]:
        return [MovedMask(disc(20), 0.7), MovedMask(None), MovedMask(disc(60), 0.4)]


def test_lost_masks_count_as_0_and_hidden_objects_do_not_count() -> None:
    """The first is right, the second lost, the third hidden on the keyframe; later the first is hidden."""
    image = np.zeros((60, 90, 3), np.uint8)

    def shown(*masks: Mask | None) -> TrueFrame:
        return TrueFrame(image, masks, tuple(None if mask is None else mask.xyxy for mask in masks))

    footage = [
        shown(disc(20), disc(40), None),
        shown(disc(20), disc(40), disc(60)),
        *[shown(None, disc(40), disc(60))] * 4,
    ]
    ways = dict.fromkeys(MeanIoU.__struct_fields__, Fixed)
    tally = propagate._measure(footage, 10, ways)
    assert [(one.lag, one.masks, one.iou.frozen) for one in tally.lags()] == [(1, 2, 0.5), (5, 1, 0.0)]
    assert tally.predicted_and_actual == [(0.7, 1.0)]


def test_the_mean_averages_the_means_of_the_sequences() -> None:
    def at(lag: int, masks: int, iou: float) -> LagFigures:
        return LagFigures(lag=lag, masks=masks, iou=MeanIoU(frozen=iou, flow=iou, box=iou, ours=iou, ours_refined=iou))

    assert propagate._means([[at(1, 9, 0.5), at(5, 8, 0.25)], [at(1, 1, 1.0)]]) == [at(1, 10, 0.75), at(5, 8, 0.25)]
    assert propagate._means([]) == []


def test_a_folder_of_something_else_is_refused_in_one_line(tmp_path: Path) -> None:
    photographs = write_photographs(tmp_path / "photographs", 1).parent
    for folder in (photographs, tmp_path / "gone"):
        with pytest.raises(
            DataError, match=r"holds no sequence to measure on; expected NAME/frames and NAME/masks$"
        ) as caught:
            bench_propagate([folder], lambda line: None)
        assert caught.value.exit_code == 2
    result = CliRunner().invoke(app, ["propagate", str(tmp_path / "gone")])
    assert isinstance(result.exception, DataError) and result.stdout == ""


def test_frames_and_masks_of_other_sizes_are_refused(tmp_path: Path) -> None:
    for name in ("frames", "masks"):
        folder = tmp_path / name
        write_sequence(folder / "one", 2)
        assert cv2.imwrite(str(folder / "one" / name / "00001.png"), np.full((HEIGHT + 2, WIDTH, 3), 255, np.uint8))
    with pytest.raises(DataError, match=r"00001\.png is 160x122; expected 160x120, as the frames before it"):
        bench_propagate([tmp_path / "frames"], lambda line: None)
    with pytest.raises(DataError, match=r"00001\.png is larger than .*00001\.png; expected a mask of 160x120"):
        bench_propagate([tmp_path / "masks"], lambda line: None)


def test_a_moved_and_scaled_box_moves_and_scales_the_mask() -> None:
    mask = disc(20)  # its box is (10, 20, 31, 41)
    moved = warp_with_box(mask, mask.xyxy, (30.0, 12.0, 51.0, 33.0), 90, 60)
    assert moved is not None and (moved.x, moved.y) == (mask.x + 20, mask.y - 8)
    assert np.array_equal(moved.bits, mask.bits)
    grown = warp_with_box(mask, mask.xyxy, (0.0, 10.0, 42.0, 52.0), 90, 60)
    assert grown is not None and grown.area == 4 * mask.area
    assert np.array_equal(grown.xyxy, (0, 10, 42, 52))
    cut = warp_with_box(mask, mask.xyxy, (-10.0, 20.0, 11.0, 41.0), 90, 60)
    assert cut is not None and (cut.x, cut.width) == (0, 11)


@pytest.mark.parametrize("box", [(10, 10, 10, 20), (30, 10, 10, 20), (10, 10, np.nan, 20), (-40, 20, -19, 41)])
def test_a_box_without_area_or_outside_the_frame_gives_no_mask(box: Box) -> None:
    assert warp_with_box(disc(20), disc(20).xyxy, box, 90, 60) is None
