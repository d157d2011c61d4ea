from __future__ import annotations

from dataclasses import replace

import cv2
import msgspec
import numpy as np
import pytest
from support.colour_vision import luminance
from support.results import EMPTY_RESULT

from benchmarks.overlay import SupervisionOverlay
from streamseg.colours import PALETTE
from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Detection, Image, TrackedObject
from streamseg.render import Sizes, paint, render
from streamseg.render_settings import RenderSettings
from streamseg.result import Result

WIDTH, HEIGHT = 320, 240


def thing(
    box: Box = (100, 60, 180, 160),
    *,
    track: int | None = 1,
    name: str = "cup",
    class_id: int = 0,
    mask: Mask | None = None,
    age_ms: float = 0.0,
) -> TrackedObject:
    detection = Detection(xyxy=box, confidence=0.9, class_id=class_id, class_name=name, tracker_id=track)
    return TrackedObject(detection=detection, mask=mask, age_ms=age_ms)


def result(*objects: TrackedObject, notice: str | None = None, width: int = WIDTH, height: int = HEIGHT) -> Result:
    models = msgspec.structs.replace(EMPTY_RESULT.models, notice=notice)
    message = replace(EMPTY_RESULT, width=width, height=height, models=models, boxes_seq=0, objects=objects)
    return Result.of(message, "masks")


def grey(width: int = WIDTH, height: int = HEIGHT) -> Image:
    return np.full((height, width, 3), 90, np.uint8)


def changed(image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray((image != grey(image.shape[1], image.shape[0])).any(axis=2))


def square(x: int = 110, y: int = 80, side: int = 60) -> Mask:
    return Mask(x, y, np.ones((side, side), np.bool_))


def centre(image: Image) -> tuple[int, ...]:
    return tuple(int(value) for value in image[110, 140])


def test_the_given_frame_does_not_change() -> None:
    image = grey()
    drawn = render(image, result(thing(mask=square())))
    assert np.array_equal(image, grey())
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8


def test_a_mask_is_tinted_and_its_holes_are_not() -> None:
    bits = np.ones((60, 60), np.bool_)
    bits[20:40, 20:40] = False
    drawn = changed(render(grey(), result(thing(mask=Mask(110, 80, bits)))))
    assert drawn[85:95, 115:165].all()
    assert not drawn[105:115, 135:145].any()
    assert drawn[80:140, 110:170].mean() > 0.85


def test_a_pending_object_is_only_a_box() -> None:
    drawn = changed(render(grey(), result(thing())))
    assert drawn[60, 100:180].all()
    assert drawn[160, 100:180].all()
    assert not drawn[66:155, 106:175].any()


def test_the_colour_follows_the_track_and_then_the_class() -> None:
    def colour(**given: int | None) -> tuple[int, ...]:
        return centre(render(grey(), result(thing(mask=square(), **given))))  # type: ignore[arg-type]

    assert colour(track=3, class_id=1) == colour(track=3, class_id=2) != colour(track=4, class_id=1)
    assert colour(track=None, class_id=3) == colour(track=3, class_id=7)
    others = thing((10, 20, 60, 60), track=9, mask=square(15, 25, 20))
    assert centre(render(grey(), result(others, thing(track=3, mask=square())))) == colour(track=3, class_id=0)


def test_the_smaller_mask_is_on_top() -> None:
    large, small = thing(track=1, mask=square(60, 60, 120)), thing(track=2, mask=square(130, 100, 20))
    alone = centre(render(grey(), result(small)))
    assert alone != centre(render(grey(), result(large)))
    assert centre(render(grey(), result(large, small))) == centre(render(grey(), result(small, large))) == alone


def disc(x: int, y: int, diameter: int) -> Mask:
    rows, columns = np.mgrid[-1 : 1 : diameter * 1j, -1 : 1 : diameter * 1j]
    return Mask(x, y, np.hypot(rows, columns) <= 1)


@pytest.mark.parametrize(("width", "height"), [(320, 240), (640, 480), (1280, 720), (1080, 1920)])
def test_the_picture_equals_that_of_supervisions_annotators(width: int, height: int) -> None:
    size = min(width, height) / 240

    def box(*edges: float) -> Box:
        left, top, right, bottom = (edge * size for edge in edges)
        return left, top, right, bottom

    objects = result(
        thing(box(40.9, 30.2, 100.5, 89.8), track=1, mask=disc(40, 40, 60)),
        thing(box(60.0, 50.0, 190.0, 180.0), track=2, name="dining table", mask=disc(60, 60, 130)),
        thing(box(70.0, 70.0, 130.0, 130.0), track=3, mask=disc(70, 45, 58)),
        thing(box(120.0, 110.0, 139.0, 129.0), track=None, class_id=5, mask=square(120, 110, 20)),
        thing(box(30.0, 150.0, 90.0, 180.0), track=40, name="Bücherregal"),
        width=width,
        height=height,
    )
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    above_the_status = slice(height - Sizes.of(height, width).line_height)
    expected = SupervisionOverlay(objects).draw(image, objects.to_detections())[above_the_status]
    drawn = render(image, objects)[above_the_status]
    assert (expected != image[above_the_status]).any(axis=2).sum() > 15_000
    assert np.abs(drawn.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("settings", "mask", "box", "label", "status"),
    [
        (RenderSettings(), True, True, True, True),
        (RenderSettings(masks=False), False, True, True, True),
        (RenderSettings(boxes=False), True, False, True, True),
        (RenderSettings(labels=False), True, True, False, True),
        (RenderSettings(status=False), True, True, True, False),
        (RenderSettings(masks=False, boxes=False, labels=False, status=False), False, False, False, False),
    ],
)
def test_the_settings_say_what_is_drawn(
    settings: RenderSettings, mask: bool, box: bool, label: bool, status: bool
) -> None:
    drawn = changed(render(grey(), result(thing(mask=square())), settings))
    assert (drawn[110, 140], drawn[100, 180], drawn[52, 102], drawn[HEIGHT - 4, 2]) == (mask, box, label, status)


def test_opacity_reaches_from_nothing_to_the_colour_itself() -> None:
    item = replace(thing(mask=square()), colour="#102030")
    colours = [centre(render(grey(), result(item), RenderSettings(opacity=opacity))) for opacity in (0.0, 0.5, 1.0)]
    assert colours == [(90, 90, 90), (69, 61, 53), (0x30, 0x20, 0x10)]


def test_an_object_is_drawn_in_its_own_colour() -> None:
    drawn = render(grey(), result(replace(thing(track=7), colour="#102030")))
    assert drawn[100, 180].tolist() == drawn[47, 101].tolist() == [0x30, 0x20, 0x10]


@pytest.mark.parametrize("colour", PALETTE)
def test_text_on_each_colour_has_the_contrast_that_wcag_asks_for(colour: str) -> None:
    bright, dark = sorted((luminance(colour), 0.0 if paint(colour, 0.5).text == (0, 0, 0) else 1.0), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.parametrize(("width", "height"), [(640, 360), (320, 240), (1280, 720), (1920, 1080), (3840, 2160)])
def test_text_is_legible_at_every_size(width: int, height: int) -> None:
    sizes = Sizes.of(height, width)
    (_, capital), _ = cv2.getTextSize("H", cv2.FONT_HERSHEY_SIMPLEX, sizes.text_scale, sizes.text_thickness)
    assert capital >= max(8, 0.012 * height)
    assert sizes.text_thickness == max(height // 720, 1)


def test_a_scale_enlarges_lines_and_text() -> None:
    small, large = Sizes.of(720, 1280), Sizes.of(720, 1280, 2.0)
    assert (large.thickness, large.text_scale, large.line_height) == (4, 2 * small.text_scale, 2 * small.line_height)


def test_labels_of_objects_in_one_place_do_not_cover_each_other() -> None:
    """Each label keeps its own colour as a whole: text inside it is black or white."""
    things = [replace(thing((100, 60, 180, 160), track=track), colour=PALETTE[track]) for track in range(1, 7)]
    drawn = render(grey(), result(*things), RenderSettings(boxes=False))
    width, height = cv2.getTextSize("cup #1 90%", cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)[0]
    for item in things:
        blue, green, red = paint(item.colour or "", 0.5).colour
        rows, columns = np.where((drawn == (blue, green, red)).all(axis=2))
        assert (int(np.ptp(rows)), int(np.ptp(columns))) == (height + 4, width + 4)
        assert len(rows) > 0.5 * (height + 5) * (width + 5)


def test_the_status_line_gives_the_age_of_an_old_mask_and_the_notice() -> None:
    def line(*objects: TrackedObject, notice: str | None = None, row: int = 6) -> int:
        return int(changed(render(grey(), result(*objects, notice=notice)))[HEIGHT - row].sum())

    boxed = (100.0, 60.0, 180.0, 160.0)
    fresh = line(thing(boxed, mask=square(), age_ms=40))
    assert 0 < fresh < line(thing(boxed, mask=square(), age_ms=900))
    assert line(thing(boxed, age_ms=900)) == fresh
    assert line(thing(boxed, mask=square()), notice="no network") == fresh
    assert 0 < line(thing(boxed, mask=square()), notice="no network", row=26) < WIDTH
    assert line(thing(boxed, mask=square()), row=26) == 0


def test_a_long_notice_is_cut_to_the_frame() -> None:
    drawn = changed(render(grey(), result(notice="very long " * 60)))
    assert drawn[HEIGHT - 6].sum() <= WIDTH
    assert not drawn[: HEIGHT // 2].any()


@pytest.mark.parametrize("name", ["Säule", "人", "🚲", "two\nlines", "", "nul\0", "\ud800"])
def test_any_class_name_is_drawn(name: str) -> None:
    assert changed(render(grey(), result(thing(name=name), notice=name)))[60, 100:180].all()


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, WIDTH, HEIGHT),
        (-50, -50, 20, 20),
        (300, 220, 900, 900),
        (1e30, 1e30, 2e30, 2e30),
        (50, 50, 50, 50),
        (90, 90, 10, 10),
    ],
)
def test_any_box_is_drawn_inside_the_frame(box: Box) -> None:
    assert render(grey(), result(thing(box))).shape == (HEIGHT, WIDTH, 3)


def test_a_label_at_the_upper_edge_stays_readable() -> None:
    drawn = changed(render(grey(), result(thing((150, 0, 200, 100)))))
    assert drawn[2:12, 152:170].mean() > 0.9


@pytest.mark.parametrize(("x", "y"), [(300, 200), (400, 300)])
def test_a_mask_beyond_the_frame_is_cut(x: int, y: int) -> None:
    assert render(grey(), result(thing(mask=square(x, y)))).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (16, 9), (4000, 30)])
def test_any_size_is_drawn(width: int, height: int) -> None:
    drawn = render(
        grey(width, height), result(thing((0, 0, width, height), mask=square(0, 0, 1)), width=width, height=height)
    )
    assert drawn.shape == (height, width, 3)


def test_a_result_of_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="320x240 frame"):
        render(grey(WIDTH, HEIGHT + 1), result())
