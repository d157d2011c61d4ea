from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from support.drawn_photographs import ellipse_bits, mask_of, paint, rectangle_bits, texture

from streamseg.errors import CheckpointError
from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models.segmenters.nano import HINT_PLANES
from streamseg.models.segmenters.nano.drawing import Drawn, Hints, draw_from_points, draw_masks, normalise
from streamseg.models.segmenters.nano.network_file import (
    FORMAT,
    FORMAT_KEY,
    HINTS,
    LOGITS,
    PICTURES,
    QUALITY,
    TRAINED_ON_KEY,
    OnnxNetwork,
    shipped_network,
)
from streamseg.models.segmenters.nano.segmenter import Nano
from streamseg.models.trained_on import TrainedOn, fingerprint
from streamseg.window import Window, box_plane, mask_plane, window_around

Planes = NDArray[np.float32]
SIDE = 96


@dataclass(frozen=True)
class Network:
    """A network of any side that answers with a function of its inputs."""

    side: int
    answer: Callable[[Planes, Planes], tuple[Planes, Planes]]

    def __call__(self, pictures: Planes, hints: Planes) -> tuple[Planes, Planes]:
        return self.answer(pictures, hints)


@pytest.fixture(scope="module")
def nano() -> Nano:
    return Nano(threads=1)


@pytest.fixture(scope="module")
def network() -> OnnxNetwork:
    return OnnxNetwork(threads=1)


def detection(xyxy: Box) -> Detection:
    return Detection(xyxy=xyxy, confidence=1.0, class_id=0, class_name="shape")


def decode(nano: Nano, image: Image, *boxes: Box) -> list[ObjectMask]:
    return nano.decode(nano.encode(image), [detection(box) for box in boxes])


def ellipse(height: int, width: int, centre: tuple[float, float], axes: tuple[float, float]) -> tuple[Image, Mask]:
    """A bright ellipse on a darker texture, and where it is."""
    rng = np.random.default_rng(1)
    image, bits = texture(height, width, rng), ellipse_bits(height, width, centre, axes)
    paint(image, bits, rng)
    return image, mask_of(bits)


def scene() -> tuple[Image, list[Box]]:
    """Twelve bright ellipses on a darker texture, and their boxes."""
    rng = np.random.default_rng(0)
    image = texture(240, 320, rng)
    boxes = []
    for place in range(12):
        bits = ellipse_bits(240, 320, (30 + 80 * (place % 4), 40 + 75 * (place // 4)), (20, 18 + 5 * (place % 3)))
        paint(image, bits, rng)
        boxes.append(mask_of(bits).xyxy)
    return image, boxes


@pytest.mark.parametrize(
    ("height", "width", "centre", "axes"),
    [
        (240, 320, (160, 110), (60, 45)),
        (120, 160, (80, 60), (12, 9)),
        (480, 640, (320, 250), (60, 150)),
        (720, 1280, (600, 350), (330, 300)),
        (240, 320, (20, 120), (50, 60)),
    ],
)
def test_finds_a_bright_ellipse_in_its_box(
    nano: Nano, height: int, width: int, centre: tuple[float, float], axes: tuple[float, float]
) -> None:
    image, true = ellipse(height, width, centre, axes)
    [answer] = decode(nano, image, true.xyxy)
    assert answer.mask is not None and answer.mask.inside(height, width)
    assert answer.mask.iou(true) > 0.8
    assert answer.stability is None
    assert answer.predicted_iou is not None and 0 <= answer.predicted_iou <= 1


@pytest.mark.parametrize(
    "box",
    [
        (-60.0, 10.0, -20.0, 50.0),
        (320.0, 10.0, 350.0, 50.0),
        (10.0, 240.0, 60.0, 280.0),
        (-1e9, -1e9, -1e8, -1e8),
        (50.0, 50.0, 30.0, 80.0),
    ],
)
def test_a_box_outside_the_frame_or_of_no_area_has_no_mask(nano: Nano, box: Box) -> None:
    image, true = ellipse(240, 320, (160, 110), (60, 45))
    before, answer, after = decode(nano, image, true.xyxy, box, true.xyxy)
    assert answer == ObjectMask(None)
    assert before.mask is not None and after.mask is not None


@pytest.mark.parametrize(
    "box",
    [
        (0.0, 0.0, 1.0, 1.0),
        (160.0, 110.0, 161.0, 111.0),
        (319.0, 239.0, 320.0, 240.0),
        (319.999, 239.999, 400.0, 400.0),
        (100.0, 100.0, 100.001, 100.001),
        (0.0, 100.0, 320.0, 100.5),
        (-1e9, -1e9, 1e9, 1e9),
        (-1e300, 50.0, 1e300, 60.0),
        (100.0, 50.0, 1e12, 1e12),
    ],
)
def test_masks_of_tiny_and_huge_boxes_stay_in_the_frame(nano: Nano, box: Box) -> None:
    image, _ = ellipse(240, 320, (160, 110), (60, 45))
    [answer] = decode(nano, image, box)
    if answer.mask is None:
        assert answer == ObjectMask(None)
    else:
        assert answer.mask.inside(240, 320)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (300, 2), (8, 8)])
def test_tiny_frames_are_accepted(nano: Nano, shape: tuple[int, int]) -> None:
    height, width = shape
    [answer] = decode(nano, np.full((height, width, 3), 90, np.uint8), (0.0, 0.0, float(width), float(height)))
    assert answer.mask is None or answer.mask.inside(height, width)


def test_a_thousand_boxes_get_a_thousand_masks_in_order(nano: Nano) -> None:
    image, _ = scene()
    rng = np.random.default_rng(0)
    corners, sizes = rng.uniform(-40, 300, (1000, 2)), rng.uniform(1, 150, (1000, 2))
    boxes: list[Box] = [
        (float(x), float(y), float(x + w), float(y + h)) for (x, y), (w, h) in zip(corners, sizes, strict=True)
    ]
    answers = decode(nano, image, *boxes)
    assert len(answers) == 1000
    assert 0 < sum(answer.mask is None for answer in answers) < 500
    for place in range(0, 1000, 23):
        [alone] = decode(nano, image, boxes[place])
        mask = answers[place].mask
        assert (alone.mask is None) == (mask is None)
        if mask is not None and alone.mask is not None:
            assert mask.iou(alone.mask) > 0.99
            assert answers[place].predicted_iou == pytest.approx(alone.predicted_iou, abs=1e-3)


def test_expected_ious_lie_between_0_and_1(nano: Nano) -> None:
    image, boxes = scene()
    shifted = [(box[0] + 25, box[1] + 20, box[2] + 30, box[3] + 10) for box in boxes]
    expected = [
        answer.predicted_iou for answer in decode(nano, image, *boxes, *shifted) if answer.predicted_iou is not None
    ]
    assert len(expected) > 12
    assert all(0 <= value <= 1 for value in expected)


def test_no_detections_give_no_masks(nano: Nano) -> None:
    assert decode(nano, np.zeros((48, 64, 3), np.uint8)) == []


def test_decoding_is_deterministic_and_leaves_the_frame_unchanged(nano: Nano) -> None:
    image, boxes = scene()
    before = image.copy()
    first, again = decode(nano, image, *boxes), decode(Nano(threads=1), image, *boxes)
    assert np.array_equal(image, before)
    for one, other in zip(first, again, strict=True):
        assert one.mask is not None and other.mask is not None
        assert (one.mask.x, one.mask.y, one.predicted_iou) == (other.mask.x, other.mask.y, other.predicted_iou)
        assert np.array_equal(one.mask.bits, other.mask.bits)


def test_part_of_a_larger_array_is_a_frame_too(nano: Nano) -> None:
    image, true = ellipse(240, 320, (160, 110), (60, 45))
    larger = np.zeros((260, 350, 3), np.uint8)
    larger[:240, :320] = image
    [one], [other] = decode(nano, image, true.xyxy), decode(nano, larger[:240, :320], true.xyxy)
    assert one.mask is not None and other.mask is not None
    assert np.array_equal(one.mask.bits, other.mask.bits)


def test_torch_is_not_loaded_to_draw() -> None:
    program = (
        "import sys\nimport numpy as np\nfrom streamseg.messages import Detection\n"
        "from streamseg.models.segmenters.nano.segmenter import Nano\n"
        "nano = Nano(threads=1)\nimage = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)\n"
        "box = Detection(xyxy=(20.0, 20.0, 90.0, 80.0), confidence=1.0, class_id=0, class_name='thing')\n"
        "print(len(nano.decode(nano.encode(image), [box])), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "1 False\n"


def test_without_contrast_the_prior_decides(network: OnnxNetwork) -> None:
    box = (60.0, 40.0, 260.0, 200.0)
    prior = mask_of(rectangle_bits(240, 320, 70, 45, 250, 110))
    gains = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        for image in (rng.integers(0, 256, (240, 320, 3), np.uint8), texture(240, 320, rng)):
            without, shown = draw_masks(network, image, [box] * 2, [None, prior])
            gains.append(iou(shown, prior) - iou(without, prior))
    assert float(np.mean(gains)) > 0.05


def test_of_two_equal_objects_in_a_box_the_prior_chooses_one(network: OnnxNetwork) -> None:
    rng = np.random.default_rng(2)
    image = texture(240, 320, rng)
    objects = [ellipse_bits(240, 320, (x, 120), (40, 60)) for x in (105, 215)]
    for bits in objects:
        paint(image, bits, rng)
    box = (60.0, 55.0, 260.0, 185.0)
    left, right = (mask_of(bits) for bits in objects)
    shown_left, shown_right = draw_masks(network, image, [box] * 2, [left, right])
    assert iou(shown_left, left) - iou(shown_left, right) > iou(shown_right, left) - iou(shown_right, right)


def iou(answer: Drawn, true: Mask) -> float:
    return 0.0 if answer.mask is None else answer.mask.iou(true)


@pytest.mark.parametrize("side", [96, 192])
def test_each_box_uses_its_own_window_and_prior_in_any_batch(side: int) -> None:
    """A network that answers with the prior where there is one, else with the box."""

    def echo(pictures: Planes, hints: Planes) -> tuple[Planes, Planes]:
        assert pictures.shape == (len(hints), 3, side, side) and hints.shape == (len(hints), HINT_PLANES, side, side)
        assert pictures.dtype == hints.dtype == np.float32
        planes = np.where(hints[:, 2] > 0, hints[:, 1], hints[:, 0])
        return planes - np.float32(0.5), planes.mean((1, 2))

    rng = np.random.default_rng(4)
    boxes: list[Box] = []
    for _ in range(70):
        x, y, width, height = (int(value) for value in rng.integers((0, 0, 20, 20), (200, 120, 100, 100)))
        boxes.append((float(x), float(y), float(x + width), float(y + height)))
    boxes[10] = boxes[40] = (-50.0, -50.0, -10.0, -10.0)
    priors: list[Mask | None] = [None] * 70
    for place in (0, 15, 16, 33, 40):
        x, y = int(boxes[place][0]), int(boxes[place][1])
        priors[place] = mask_of(rectangle_bits(240, 320, max(x, 0) + 3, max(y, 0) + 4, max(x, 0) + 15, max(y, 0) + 17))
    drawn = draw_masks(Network(side, echo), np.zeros((240, 320, 3), np.uint8), boxes, priors)
    assert len(drawn) == 70
    for place, answer in enumerate(drawn):
        if place in (10, 40):
            assert answer == Drawn(None, 0.0)
            continue
        prior = priors[place]
        assert answer.mask is not None
        assert answer.mask.xyxy == pytest.approx(boxes[place] if prior is None else prior.xyxy, abs=1)
        assert answer.predicted_iou > 0


@pytest.mark.parametrize(
    ("reach", "expected", "kept"), [(0, 0.9, True), (1, 0.9, True), (1, 0.99, False), (4, 0.9, False), (60, 0.9, False)]
)
def test_a_prior_stays_unless_the_drawn_mask_is_expected_to_be_better(reach: int, expected: float, kept: bool) -> None:
    """A network that answers with the prior less a border of so many of its pixels."""

    def eroding(pictures: Planes, hints: Planes) -> tuple[Planes, Planes]:
        kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        return np.stack([cv2.erode(one[1], kernel) for one in hints]) - np.float32(0.5), np.full(
            len(hints), expected, np.float32
        )

    prior = mask_of(ellipse_bits(400, 400, (200.5, 180.3), (140, 110)))
    [answer] = draw_masks(Network(SIDE, eroding), np.zeros((400, 400, 3), np.uint8), [prior.xyxy], [prior])
    assert (answer.mask is prior) == kept
    if not kept:
        assert (answer.mask is None) == (reach == 60) and iou(answer, prior) < expected


def test_hints_are_the_box_the_prior_and_whether_there_is_one() -> None:
    window = Window(10, 20, 110, 120)
    box, prior = (30.0, 40.0, 90.5, 99.25), mask_of(ellipse_bits(200, 200, (60, 70), (25, 20)))
    without, shown = Hints(box).planes(window, SIDE), Hints(box, prior).planes(window, SIDE)
    assert without.shape == (HINT_PLANES, SIDE, SIDE)
    assert np.array_equal(without[0], box_plane(box, window, SIDE)) and np.array_equal(shown[0], without[0])
    assert not without[1:].any()
    assert np.array_equal(shown[1], mask_plane(prior, window, SIDE))
    assert (shown[2] == 1).all() and not shown[3:].any()


def test_hints_are_points_on_the_object_and_beside_it_without_a_box() -> None:
    window = Window(10, 20, 106, 116)
    planes = Hints(on=((30.5, 40.5), (60.5, 100.5)), off=((90.5, 25.5), (300.0, 300.0))).planes(window, SIDE)
    assert not planes[:3].any()
    assert np.argwhere(planes[3] == 1).tolist() == [[20, 20], [80, 50]]
    assert np.argwhere(planes[4] == 1).tolist() == [[5, 80]]
    for plane, points in ((planes[3], 2), (planes[4], 1)):
        # A Gaussian of four pixels.
        assert plane.sum() == pytest.approx(points * 2 * np.pi * 4**2, rel=0.2)


class Seeing:
    """Finds what is bright. It expects the more, the more of the window that fills, and little if an edge cuts it."""

    side = SIDE

    def __init__(self) -> None:
        self.hints: list[Planes] = []
        self.bright: list[Planes] = []

    def __call__(self, pictures: Planes, hints: Planes) -> tuple[Planes, Planes]:
        bright = (pictures[:, 2] > 0).astype(np.float32)
        cut = np.array([max(one[0].max(), one[-1].max(), one[:, 0].max(), one[:, -1].max()) for one in bright])
        self.hints += list(hints)
        self.bright += list(bright)
        return bright - np.float32(0.5), ((bright.mean((1, 2)) + 1 - cut) / 2).astype(np.float32)


def points_on(*points: tuple[float, float], labels: tuple[int, ...] | None = None) -> tuple[Any, Any]:
    """One object of `draw_from_points`."""
    return np.array([points], np.float64), np.array([labels or (1,) * len(points)], np.int64)


@pytest.mark.parametrize("axes", [(8.0, 6.0), (25.0, 40.0), (90.0, 60.0), (230.0, 200.0)])
@pytest.mark.parametrize("at", [(0.0, 0.0), (0.5, -0.4)])
def test_from_a_point_the_window_that_shows_the_whole_object_wins(
    axes: tuple[float, float], at: tuple[float, float]
) -> None:
    bits = ellipse_bits(480, 640, (330.5, 250.5), axes)
    image = np.where(bits[..., None], np.uint8(255), np.uint8(40)) * np.ones(3, np.uint8)
    point = (330.5 + at[0] * axes[0], 250.5 + at[1] * axes[1])
    network = Seeing()
    [answer] = draw_from_points(network, image, *points_on(point))
    true = mask_of(bits)
    assert iou(answer, true) > 0.93
    *around, boxed = network.hints
    assert not any(one[:3].any() for one in around)
    for one in around:
        row, column = np.unravel_index(one[3].argmax(), one[3].shape)
        assert abs(row - SIDE / 2) <= 2 and abs(column - SIDE / 2) <= 2
    # The last run has the box of the best mask, and the point too.
    assert boxed[0].max() == 1 and boxed[3].max() > 0.9 and not boxed[1:3].any()
    assert boxed[0].mean() == pytest.approx(1 / 1.4**2, abs=0.15)


def test_points_beside_the_object_are_in_their_own_plane() -> None:
    image, true = ellipse(240, 320, (160, 110), (60, 45))
    network = Seeing()
    draw_from_points(network, image, *points_on((160, 110), (170, 110), (230, 110), (5, 5), labels=(1, 1, 0, -1)))
    *_, boxed = network.hints
    window = window_around(true.xyxy, 320, 240)
    assert window is not None
    for plane, x in ((boxed[3], 165), (boxed[4], 230)):
        columns = (plane.sum(axis=0) * (np.arange(SIDE) + 0.5)).sum() / plane.sum()
        assert window.left + columns / SIDE * window.width == pytest.approx(x, abs=4)


def test_distant_points_on_one_object_share_a_window() -> None:
    network = Seeing()
    draw_from_points(network, np.zeros((480, 640, 3), np.uint8), *points_on((200, 200), (400, 300)))
    assert network.hints
    for planes in network.hints:
        assert planes[3].max() > 0.95 and (planes[3] > 0.8).any(axis=0).sum() > 8
        columns = np.flatnonzero((planes[3] > 0.8).any(axis=0))
        assert columns[0] > 5 and columns[-1] < SIDE - 5


def test_each_object_has_its_own_points() -> None:
    image = np.full((240, 320, 3), 40, np.uint8)
    masks = [mask_of(ellipse_bits(240, 320, (x, y), (22, 18))) for x in (60, 160, 260) for y in (60, 180)]
    for mask in masks:
        image[mask.paste(240, 320)] = 255
    centres = np.array([[[(mask.xyxy[0] + mask.xyxy[2]) / 2, (mask.xyxy[1] + mask.xyxy[3]) / 2]] for mask in masks])
    labels = np.ones((6, 1), np.int64)
    labels[2] = -1
    answers = draw_from_points(Seeing(), image, centres, labels)
    assert answers[2] == Drawn(None, 0.0)
    assert all(iou(answer, mask) > 0.9 for answer, mask in zip(answers, masks, strict=True) if answer != answers[2])


@pytest.mark.parametrize(("point", "label"), [((-5.0, 20.0), 1), ((400.0, 20.0), 1), ((50.0, 50.0), 0)])
def test_without_a_point_on_an_object_in_the_frame_there_is_no_mask(point: tuple[float, float], label: int) -> None:
    network = Seeing()
    answers = draw_from_points(network, np.full((240, 320, 3), 255, np.uint8), *points_on(point, labels=(label,)))
    assert answers == [Drawn(None, 0.0)] and not network.hints
    none = np.empty((0, 1, 2)), np.empty((0, 1), np.int64)
    assert draw_from_points(network, np.zeros((240, 320, 3), np.uint8), *none) == []


def test_a_point_on_nothing_has_no_mask() -> None:
    [answer] = draw_from_points(Seeing(), np.zeros((240, 320, 3), np.uint8), *points_on((100, 100)))
    assert answer == Drawn(None, 0.0)


def test_pictures_lie_between_minus_1_and_1_grey_at_0() -> None:
    crops = [np.full((SIDE, SIDE, 3), value, np.uint8) for value in (0, 127, 255)]
    crops[1][..., 2] = 191
    pictures = normalise(crops)
    assert pictures.shape == (3, 3, SIDE, SIDE) and pictures.dtype == np.float32
    assert (pictures[0] == -127 / 128).all() and (pictures[2] == 1).all()
    assert (pictures[1, :2] == 0).all() and (pictures[1, 2] == 0.5).all()


def test_the_packaged_file_is_small_and_lists_its_training_data(network: OnnxNetwork) -> None:
    assert len(shipped_network()) <= 6_000_000
    assert network.trained_on.fingerprints
    assert not network.trained_on.saw(b"a photograph that does not exist")


def test_fingerprints_are_read_back_from_the_file() -> None:
    photographs = [bytes([number]) * 100 for number in range(50)]
    trained_on = TrainedOn(frozenset(map(fingerprint, photographs)))
    again = TrainedOn.decode(trained_on.encode())
    assert again == trained_on
    assert all(map(again.saw, photographs)) and not again.saw(b"another")
    assert TrainedOn.decode(TrainedOn(frozenset()).encode()) == TrainedOn(frozenset())


def test_a_users_file_replaces_the_network(tmp_path: Path, nano: Nano) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(shipped_network())
    image, boxes = scene()
    [one], [other] = decode(Nano(path, threads=1), image, boxes[0]), decode(nano, image, boxes[0])
    assert one.mask is not None and other.mask is not None
    assert np.array_equal(one.mask.bits, other.mask.bits)


def with_notes(**notes: str) -> Callable[[], bytes]:
    """The package's network with other notes."""

    def make() -> bytes:
        model = onnx.load_model_from_string(shipped_network())
        del model.metadata_props[:]
        helper.set_model_props(model, notes)
        content: bytes = model.SerializeToString()
        return content

    return make


def another_network(
    inputs: tuple[str, ...], outputs: tuple[str, ...], side: int | str | None = SIDE, **notes: str
) -> Callable[[], bytes]:
    """A valid network that gives its inputs back."""

    def make() -> bytes:
        planes = {HINTS: HINT_PLANES, QUALITY: HINT_PLANES}
        values: list[Any] = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", planes.get(name, 3), side, side])
            for name in (*inputs, *outputs)
        ]
        nodes = [helper.make_node("Identity", [before], [after]) for before, after in zip(inputs, outputs, strict=True)]
        graph = helper.make_graph(nodes, "another", values[: len(inputs)], values[len(inputs) :])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, notes)
        content: bytes = model.SerializeToString()
        return content

    return make


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: b"", id="empty"),
        pytest.param(lambda: np.random.default_rng(0).bytes(5000), id="random"),
        pytest.param(lambda: b"weights\n" * 100, id="text"),
        pytest.param(lambda: shipped_network()[:1], id="one byte"),
        pytest.param(lambda: shipped_network()[:100_000], id="truncated early"),
        pytest.param(lambda: shipped_network()[: len(shipped_network()) // 2], id="truncated"),
        pytest.param(lambda: shipped_network()[:-1], id="truncated by a byte"),
        pytest.param(another_network(("x",), ("y",)), id="another network"),
        pytest.param(
            another_network(("x",), ("y",), **{FORMAT_KEY: FORMAT}), id="another network that says it is nano"
        ),
        pytest.param(another_network((PICTURES, HINTS), (LOGITS, QUALITY), **{FORMAT_KEY: FORMAT}), id="other shapes"),
        *(
            pytest.param(
                another_network((PICTURES, HINTS), (LOGITS, QUALITY), side, **{FORMAT_KEY: FORMAT}), id=f"side {side}"
            )
            for side in (0, 100, 100_000, "any", None)
        ),
        pytest.param(with_notes(), id="no notes"),
        pytest.param(with_notes(**{FORMAT_KEY: "1", TRAINED_ON_KEY: ""}), id="another format"),
        pytest.param(with_notes(**{FORMAT_KEY: FORMAT, TRAINED_ON_KEY: "not\nbase 85"}), id="damaged notes"),
        pytest.param(with_notes(**{FORMAT_KEY: FORMAT, TRAINED_ON_KEY: "ünïcode"}), id="notes beyond ASCII"),
    ],
)
def test_a_file_that_is_not_a_network_of_nano_is_named_in_one_line(
    content: Callable[[], bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.onnx"
    path.write_bytes(content())
    with pytest.raises(CheckpointError) as caught:
        Nano(path, threads=1)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and "streamseg train nano" in message
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_or_a_folder_is_named_in_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.onnx", tmp_path):
        with pytest.raises(CheckpointError) as caught:
            Nano(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
