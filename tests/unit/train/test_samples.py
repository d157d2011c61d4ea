from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support.drawn_photographs import (
    HEIGHT,
    WIDTH,
    ellipse_bits,
    mask_of,
    paint,
    rectangle_bits,
    texture,
    write_photographs,
)

from streamseg.errors import DataError, SourceError
from streamseg.messages import Image
from streamseg.models.segmenters.nano import HINT_PLANES
from streamseg.train import samples as samples_module
from streamseg.train.augmentation import as_filmed
from streamseg.train.outlines import Photograph, read_outlines
from streamseg.train.samples import Sample, Samples

Plane = NDArray[np.float32]
COUNT = 120
SIDE = 96


@pytest.fixture(scope="module")
def drawn_set(tmp_path_factory: pytest.TempPathFactory) -> list[Photograph]:
    file = write_photographs(tmp_path_factory.mktemp("samples") / "data", 4)
    return read_outlines(file, file.parent / "images").photographs


@pytest.fixture(scope="module")
def drawn(drawn_set: list[Photograph]) -> list[Sample]:
    samples = Samples(drawn_set, SIDE, seed=1)
    return [samples.draw(number) for number in range(COUNT)]


def brightness(sample: Sample) -> Plane:
    """The objects are bright and red where all else is dark: their share of red, 0 to 2."""
    return np.asarray(sample.picture[2] + 1, np.float32)


def equal(one: Sample, other: Sample) -> bool:
    names = ("picture", "hints", "target", "outside")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.fixture(scope="module")
def boxed(drawn: list[Sample]) -> list[Sample]:
    return [sample for sample in drawn if sample.hints[0].any()]


@pytest.fixture(scope="module")
def pointed(drawn: list[Sample]) -> list[Sample]:
    """Samples with points alone."""
    return [sample for sample in drawn if not sample.hints[0].any()]


def test_every_object_counts(drawn_set: list[Photograph]) -> None:
    assert len(Samples(drawn_set, SIDE, seed=0)) == 8


def test_the_same_seed_and_number_give_the_same_sample_in_any_order(
    drawn_set: list[Photograph], drawn: list[Sample]
) -> None:
    again = Samples(drawn_set, SIDE, seed=1)
    for number in (41, 3, 0, 17):
        assert equal(again.draw(number), drawn[number])


def test_other_numbers_and_seeds_give_other_samples(drawn_set: list[Photograph], drawn: list[Sample]) -> None:
    assert len({sample.picture.tobytes() for sample in drawn}) == COUNT
    assert not equal(Samples(drawn_set, SIDE, seed=2).draw(0), drawn[0])


def test_samples_fit_the_network(drawn: list[Sample]) -> None:
    for sample in drawn:
        assert sample.picture.shape == (3, SIDE, SIDE) and sample.target.shape == (SIDE, SIDE)
        assert sample.hints.shape == (HINT_PLANES, SIDE, SIDE)
        assert sample.picture.dtype == sample.hints.dtype == sample.target.dtype == np.float32
        assert sample.picture.min() >= -1 and sample.picture.max() <= 1
        for plane in (*sample.hints, sample.target):
            assert plane.min() > -1e-5 and plane.max() < 1 + 1e-5


def test_some_samples_have_a_prior_and_the_last_plane_marks_it(drawn: list[Sample]) -> None:
    told = [sample for sample in drawn if sample.hints[2].any()]
    assert 0.15 * COUNT < len(told) < 0.85 * COUNT
    for sample in drawn:
        if sample.hints[2].any():
            assert (sample.hints[2] == 1).all()
        else:
            assert not sample.hints[1].any()
    overlaps = [iou(sample.hints[1], sample.target) for sample in told]
    assert 0.4 < float(np.mean(overlaps)) < 0.95
    # Propagated masks have soft edges once they are cut out, those distorted at random have none.
    hard = [set(np.unique(sample.hints[1])) <= {0.0, 1.0} for sample in told]
    assert 0.35 < np.mean(hard) < 0.85


def iou(one: Plane, other: Plane) -> float:
    first, second = one > 0.5, other > 0.5
    return float((first & second).sum() / (first | second).sum())


def test_some_samples_have_points_beside_a_box_or_alone(boxed: list[Sample], pointed: list[Sample]) -> None:
    assert 0.12 * COUNT < len(pointed) < 0.4 * COUNT
    assert 0.05 * len(boxed) < sum(sample.hints[3:].any() for sample in boxed) < 0.3 * len(boxed)
    assert all(sample.hints[3].max() > 0.9 and not sample.hints[:3].any() for sample in pointed)
    assert 0 < sum(sample.hints[4].max() > 0.9 for sample in (*boxed, *pointed)) < 0.2 * COUNT


def peaks(plane: Plane) -> list[tuple[int, int]]:
    """Row and column of each point."""
    top = (plane > 0.9) & (plane == cv2.dilate(plane, np.ones((5, 5))))
    return [(int(row), int(column)) for row, column in np.argwhere(top)]


def test_points_lie_on_the_visible_object_or_clearly_beside_it(drawn: list[Sample]) -> None:
    found = 0
    for sample in drawn:
        near = cv2.dilate(sample.target, np.ones((3, 3)))
        assert all(near[place] > 0.5 for place in peaks(sample.hints[3]))
        assert all(sample.target[place] < 0.5 for place in peaks(sample.hints[4]))
        found += len(peaks(sample.hints[3])) + len(peaks(sample.hints[4]))
    assert found > 0.3 * COUNT


def test_the_window_of_a_single_point_has_it_in_the_middle_and_any_size(pointed: list[Sample]) -> None:
    shares = []
    for sample in pointed:
        if len(peaks(sample.hints[3])) == 1 and not peaks(sample.hints[4]):
            [(row, column)] = peaks(sample.hints[3])
            assert abs(row - SIDE / 2) <= 2 and abs(column - SIDE / 2) <= 2
        shares.append(sample.target.mean())
    assert min(shares) < 0.05 and max(shares) > 0.4


def test_what_lies_outside_the_window_counts(boxed: list[Sample], pointed: list[Sample]) -> None:
    assert all(sample.outside >= 0 for sample in (*boxed, *pointed))
    cut = [sample.outside > 0.1 * sample.target.sum() for sample in pointed]
    assert 0.05 < np.mean(cut) < 0.7
    for sample in boxed:
        assert sample.outside < 0.5 * sample.target.sum()
    for sample in pointed:
        edge = max(
            part.max() for part in (sample.target[0], sample.target[-1], sample.target[:, 0], sample.target[:, -1])
        )
        assert edge > 0.5 or sample.outside < 0.1 * sample.target.sum()


def test_the_object_lies_in_the_box_and_fills_it(boxed: list[Sample]) -> None:
    inside, overlaps = [], []
    for sample in boxed:
        box, target = sample.hints[0] > 0.5, sample.target > 0.5
        assert 0.1 < box.mean() < 0.9
        inside.append((target & box).sum() / target.sum())
        rows, columns = np.flatnonzero(target.any(axis=1)), np.flatnonzero(target.any(axis=0))
        around = rectangle_bits(SIDE, SIDE, int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        overlaps.append((around & box).sum() / (around | box).sum())
    assert min(inside) > 0.5 and float(np.mean(inside)) > 0.9
    assert float(np.median(overlaps)) > 0.85


def test_the_target_is_where_the_object_is_in_the_picture(boxed: list[Sample]) -> None:
    correlations = [np.corrcoef(brightness(sample).ravel(), sample.target.ravel())[0, 1] for sample in boxed]
    # A few are dark, or stand before another object of the same colour.
    assert float(np.median(correlations)) > 0.9
    assert float(np.quantile(correlations, 0.2)) > 0.6


@pytest.fixture
def perfect_camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(samples_module, "as_filmed", lambda image, rng: image)
    yield


@pytest.mark.usefixtures("perfect_camera")
def test_the_target_agrees_with_the_picture_at_its_edges(drawn_set: list[Photograph]) -> None:
    samples = Samples(drawn_set, SIDE, seed=3)
    overlaps, shifts = [], []
    for number in range(80):
        sample = samples.draw(number)
        # Half-way between the red of the objects and that of what is around them.
        seen = (sample.picture[2] * 128 + 127 > 145).astype(np.float32)
        overlaps.append(iou(seen, sample.target))
        shifts.append(centre_of(seen) - centre_of(sample.target))
    assert float(np.median(overlaps)) > 0.93
    assert abs(np.median(shifts, axis=0)).max() < 0.5


def centre_of(plane: Plane) -> NDArray[np.float64]:
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    return np.array((np.average(x, weights=plane), np.average(y, weights=plane)))


@pytest.mark.usefixtures("perfect_camera")
def test_every_object_is_drawn_small_ones_less_often(tmp_path: Path) -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    boxes = {70: (20, 20, 140, 140), 120: (170, 30, 280, 120), 170: (30, 170, 130, 290), 220: (200, 200, 216, 216)}
    objects = {grey: rectangle_bits(300, 300, *box) for grey, box in boxes.items()}
    for grey, bits in objects.items():
        image[bits] = grey
    path = tmp_path / "four.png"
    assert cv2.imwrite(str(path), image)
    samples = Samples(
        [Photograph(path, 300, 300, tuple(map(mask_of, objects.values())), ("",) * len(objects))], SIDE, seed=0
    )
    middle = slice(SIDE // 2 - 4, SIDE // 2 + 4)
    shown = Counter(
        round(float(np.median(samples.draw(number).picture[:, middle, middle])) * 128 + 127) for number in range(200)
    )
    assert set(objects) <= set(shown)
    assert shown[220] < min(shown[70], shown[120], shown[170])


def test_a_thin_object_is_drawn_too(tmp_path: Path) -> None:
    image = texture(60, 420, np.random.default_rng(0))
    bits = rectangle_bits(60, 420, 10, 20, 410, 32)
    paint(image, bits, np.random.default_rng(1))
    path = tmp_path / "thin.png"
    assert cv2.imwrite(str(path), image)
    sample = Samples([Photograph(path, 420, 60, (mask_of(bits),), ("",))], SIDE, seed=0).draw(0)
    assert sample.target.max() > 0.5


def test_an_unreadable_picture_or_one_of_another_size_is_named(tmp_path: Path) -> None:
    mask = mask_of(rectangle_bits(100, 100, 10, 10, 90, 90))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"broken\.png is not a picture"):
        Samples([Photograph(broken, 100, 100, (mask,), ("",))], SIDE, seed=0).draw(0)
    for height, width in ((80, 100), (100, 120), (200, 200)):
        other = tmp_path / "other.png"
        assert cv2.imwrite(str(other), np.zeros((height, width, 3), np.uint8))
        with pytest.raises(
            DataError, match=rf"other\.png has {width}x{height} pixels, but its outlines were drawn on 100x100"
        ):
            Samples([Photograph(other, 100, 100, (mask,), ("",))], SIDE, seed=0).draw(0)


def test_another_process_draws_the_same_samples(tmp_path: Path) -> None:
    image = texture(HEIGHT, WIDTH, np.random.default_rng(0))
    path = tmp_path / "one.png"
    assert cv2.imwrite(str(path), image)
    samples = Samples(
        [Photograph(path, WIDTH, HEIGHT, (mask_of(ellipse_bits(HEIGHT, WIDTH, (80, 60), (30, 20))),), ("",))],
        SIDE,
        seed=3,
    )
    there = pickle.loads(pickle.dumps(samples))
    for number in range(5):
        here, drawn = samples.draw(number), there.draw(number)
        assert equal(here, drawn)


def test_camera_effects_keep_the_size_and_copy_the_picture() -> None:
    image: Image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    before = image.copy()
    filmed = [as_filmed(image, np.random.default_rng(number)) for number in range(150)]
    assert np.array_equal(image, before)
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in filmed)
    assert np.array_equal(as_filmed(image, np.random.default_rng(7)), filmed[7])
    assert len({one.tobytes() for one in filmed}) == 150


@pytest.mark.usefixtures("perfect_camera")
def test_the_target_of_a_hidden_object_is_what_is_seen_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dark and a bright object, each before a black background."""
    photographs = []
    for grey in (90, 220):
        image, bits = np.zeros((120, 160, 3), np.uint8), ellipse_bits(120, 160, (80, 60), (40, 30))
        image[bits] = grey
        path = tmp_path / f"{grey}.png"
        assert cv2.imwrite(str(path), image)
        photographs.append(Photograph(path, 160, 120, (mask_of(bits),), ("",)))
    monkeypatch.setattr(samples_module, "_OCCLUDED", 1.0)
    monkeypatch.setattr(samples_module, "_OTHER_BACKGROUND", 0.0)
    monkeypatch.setattr(samples_module, "_FROM_POINTS", 0.0)
    samples = Samples(photographs, SIDE, seed=0)
    hidden = 0
    for number in range(60):
        sample = samples.draw(number)
        grey = sample.picture[0] * 128 + 127
        true, shades = sample.target > 0.9, (abs(grey - 90) < 8, abs(grey - 220) < 8)
        of_target = shades[0] if np.median(grey[true]) < 150 else shades[1]
        other = shades[1] if of_target is shades[0] else shades[0]
        assert (of_target & true).sum() > 0.8 * true.sum()
        assert not (other & true).any()
        hidden += other.sum() > 0.05 * true.sum()
    assert hidden > 10
