from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from streamseg.errors import CheckpointError, SettingsError, WeightsError
from streamseg.geometry import Box, box_iou
from streamseg.messages import Detection, Image
from streamseg.models import Detector
from streamseg.models.detectors.yolox import YoloxDetector, decode, grid_cells, input_shape
from streamseg.models.detectors.yolox_graph import read_yolox_graph
from streamseg.models.options import Compute, DetectorSettings
from streamseg.models.registry import create_detector

SIDE = 128
STRIDES = (8, 16, 32)


def export(path: Path, *, classes: int = 2, strides: tuple[int, ...] = STRIDES, pinned: bool = False) -> Path:
    """A YOLOX-like export, fixed to 128x128 as the official ones are to theirs.

    Each all-red (class 0) or all-blue (class 1) cell of stride 8 is an object of 24x16 pixels at the cell's centre.

    Args:
        pinned: Whether the shape is written where it cannot be rewritten, too.
    """
    nodes, weights, parts = [], [], []
    image = "images"
    if pinned:
        weights.append(numpy_helper.from_array(np.array([1, 3, SIDE, SIDE], np.int64), "pin"))
        nodes.append(helper.make_node("Reshape", ["images", "pin"], ["pinned"]))
        image = "pinned"
    for stride in strides:
        kernel = np.zeros((5 + classes, 3, stride, stride), np.float32)
        bias = np.zeros(5 + classes, np.float32)
        bias[:4] = 0.5, 0.5, np.log(3.0), np.log(2.0)
        bias[4:] = -30.0
        if stride == 8:
            kernel[4, (0, 2)] = 40.0 / 255 / 64
            kernel[5, 2], kernel[6, 0] = 60.0 / 255 / 64, 60.0 / 255 / 64
        cells = (SIDE // stride) ** 2
        weights += [
            numpy_helper.from_array(kernel, f"kernel{stride}"),
            numpy_helper.from_array(bias, f"bias{stride}"),
            numpy_helper.from_array(np.array([1, 5 + classes, cells], np.int64), f"shape{stride}"),
        ]
        nodes += [
            helper.make_node(
                "Conv", [image, f"kernel{stride}", f"bias{stride}"], [f"raw{stride}"], strides=[stride, stride]
            ),
            helper.make_node("Split", [f"raw{stride}", "sections"], [f"box{stride}", f"logit{stride}"], axis=1),
            helper.make_node("Sigmoid", [f"logit{stride}"], [f"score{stride}"]),
            helper.make_node("Concat", [f"box{stride}", f"score{stride}"], [f"map{stride}"], axis=1),
            helper.make_node("Reshape", [f"map{stride}", f"shape{stride}"], [f"flat{stride}"]),
        ]
        parts.append(f"flat{stride}")
    weights.append(numpy_helper.from_array(np.array([4, 1 + classes], np.int64), "sections"))
    nodes += [
        helper.make_node("Concat", parts, ["all"], axis=2),
        helper.make_node("Transpose", ["all"], ["output"], perm=[0, 2, 1]),
    ]
    cells = sum((SIDE // stride) ** 2 for stride in strides)
    graph = helper.make_graph(
        nodes,
        "yolox",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, cells, 5 + classes])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def frame_with(width: int, height: int, red: tuple[int, int], blue: tuple[int, int]) -> tuple[Image, Box, Box]:
    """A black frame whose given cells (column, row) of the input are red and blue; and the expected boxes."""
    scale = SIDE / max(width, height)
    columns, rows = round(width * scale), round(height * scale)
    image = np.zeros((height, width, 3), np.uint8)
    boxes = []
    for (column, row), channel in ((red, 2), (blue, 0)):
        left, top, right, bottom = (edge * 8 for edge in (column, row, column + 1, row + 1))
        margin = 2  # in pixels of the input: the resampling mixes what lies around
        ys = slice(round((top - margin) * height / rows), round((bottom + margin) * height / rows))
        xs = slice(round((left - margin) * width / columns), round((right + margin) * width / columns))
        image[ys, xs, channel] = 255
        x, y = left + 4, top + 4
        boxes.append((x - 12, y - 8, x + 12, y + 8))
    to_frame = np.array([width / columns, height / rows] * 2)
    first, second = (tuple((np.array(box) * to_frame).clip(0, [width, height] * 2).tolist()) for box in boxes)
    return image, first, second


def create(settings: DetectorSettings, threads: int = 1) -> Detector:
    return create_detector(settings, Compute(threads=threads))


def detector_for(path: Path, **changes: object) -> DetectorSettings:
    return DetectorSettings(model=str(path), **{"conf": 0.5, **changes})  # type: ignore[arg-type]


def by_class(found: list[Detection]) -> dict[str, Box]:
    return {detection.class_name: detection.xyxy for detection in found}


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize(("width", "height"), [(128, 128), (256, 144), (333, 187), (187, 333), (1280, 720)])
def test_each_box_lies_on_its_object_with_its_class(tmp_path: Path, width: int, height: int, pinned: bool) -> None:
    detector = create(detector_for(export(tmp_path / "mine.onnx", pinned=pinned)))
    image, red, blue = frame_with(width, height, red=(2, 2), blue=(6, 7))
    found = by_class(detector.detect(image))
    assert detector.name == "mine"
    assert set(found) == {"class-0", "class-1"}
    assert np.allclose(found["class-0"], red, atol=0.01 * max(width, height) / SIDE)
    assert np.allclose(found["class-1"], blue, atol=0.01 * max(width, height) / SIDE)


def test_the_input_has_the_pictures_proportions(tmp_path: Path) -> None:
    assert input_shape(720, 1280, 416) == (256, 416)
    assert input_shape(480, 640, 416) == (320, 416)
    assert input_shape(1280, 720, 416) == (416, 256)
    assert input_shape(500, 500, 640) == (640, 640)
    assert input_shape(4, 4000, 640) == (32, 640)
    session = onnxruntime.InferenceSession(
        read_yolox_graph(export(tmp_path / "a.onnx")).reshaped(96, 160), providers=["CPUExecutionProvider"]
    )
    assert session.get_inputs()[0].shape == [1, 3, 96, 160]
    assert session.run(None, {"images": np.zeros((1, 3, 96, 160), np.float32)})[0].shape == (
        1,
        12 * 20 + 6 * 10 + 3 * 5,
        7,
    )


def test_a_new_frame_size_gets_a_new_input(tmp_path: Path) -> None:
    detector = create(detector_for(export(tmp_path / "a.onnx")))
    for width, height in ((256, 144), (144, 256), (256, 144)):
        image, red, _ = frame_with(width, height, red=(3, 4), blue=(6, 8))
        assert np.allclose(by_class(detector.detect(image))["class-0"], red, atol=0.05)


def test_imgsz_sets_the_longer_side(tmp_path: Path) -> None:
    image = np.zeros((144, 256, 3), np.uint8)
    image[64:72, 64:72, 2] = 255
    [detection] = create(detector_for(export(tmp_path / "a.onnx"), imgsz=256)).detect(image)
    assert detection.xyxy[2] - detection.xyxy[0] == pytest.approx(
        24, abs=0.1
    )  # the model's 24 pixels are the frame's now
    with pytest.raises(SettingsError, match=r"^detector\.imgsz: [^\n]*128x128"):
        create(detector_for(export(tmp_path / "b.onnx", pinned=True), imgsz=256)).detect(image)


def test_classes_conf_and_max_det(tmp_path: Path) -> None:
    path = export(tmp_path / "a.onnx")
    image, _, _ = frame_with(256, 144, red=(2, 2), blue=(6, 7))
    assert set(by_class(create(detector_for(path, classes=("class-1",))).detect(image))) == {"class-1"}
    assert set(by_class(create(detector_for(path, classes=(0,))).detect(image))) == {"class-0"}
    assert len(create(detector_for(path, max_det=1)).detect(image)) == 1
    assert create(detector_for(path, conf=1.0)).detect(image) == []
    with pytest.raises(SettingsError, match=r"^detector\.classes: "):
        create(detector_for(path, classes=("person",)))


def test_neighbours_of_one_class_become_one_box(tmp_path: Path) -> None:
    path = export(tmp_path / "a.onnx")
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[32:40, 32:48, 2] = 255  # two cells, whose boxes overlap by half
    assert len(create(detector_for(path, iou=0.4)).detect(image)) == 1
    assert len(create(detector_for(path, iou=0.6)).detect(image)) == 2
    image[32:40, 40:48] = (255, 0, 0)  # the second of the other class: both stay
    assert set(by_class(create(detector_for(path, iou=0.4)).detect(image))) == {"class-0", "class-1"}


def test_decode_places_cells_row_by_row_stride_by_stride() -> None:
    cells = grid_cells(32, 64)
    assert cells.shape == (4 * 8 + 2 * 4 + 1 * 2, 3)
    rows = np.zeros((len(cells), 7), np.float32)
    found = decode(rows, cells)
    assert found[8 + 3].tolist() == [24 - 4, 8 - 4, 24 + 4, 8 + 4]
    assert found[32 + 4 + 2].tolist() == [32 - 8, 16 - 8, 32 + 8, 16 + 8]
    assert found[40 + 1].tolist() == [32 - 16, 0 - 16, 32 + 16, 0 + 16]
    assert decode(rows[[11, 41]], cells[[11, 41]]).tolist() == found[[11, 41]].tolist()


def test_frames_of_16_9_use_the_prepared_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = create(detector_for(export(tmp_path / "a.onnx")))
    made: list[object] = []
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *args, **options: made.append(args))
    for width, height in ((256, 144), (1920, 1080), (640, 360)):
        image, red, _ = frame_with(width, height, red=(2, 2), blue=(6, 7))
        assert np.allclose(by_class(detector.detect(image))["class-0"], red, atol=0.01 * width / SIDE)
    assert made == []


def test_no_pixels_stay_in_the_next_frames_input(tmp_path: Path) -> None:
    options, weights = detector_for(tmp_path / "a.onnx"), export(tmp_path / "a.onnx")
    detector = YoloxDetector(options, Compute(threads=1), weights)
    white = np.full((95, 127, 3), 255, np.uint8)  # both fit into 96 rows of 128 columns
    black = np.zeros((85, 128, 3), np.uint8)
    assert detector.preprocess(white).shape == (1, 3, 96, 128)
    tensor = detector.preprocess(black)
    assert tensor.shape == (1, 3, 96, 128)
    assert (tensor[:, :, :85] == 0).all() and (tensor[:, :, 85:] == 114).all()


def raw_outputs(cells: int, classes: int, seed: int) -> NDArray[np.float32]:
    """Outputs as of a crowded picture: boxes of some cells' size around them, a fifth of them likely objects."""
    chance = np.random.default_rng(seed)
    rows = chance.normal(0.0, 0.7, (cells, 5 + classes)).astype(np.float32)
    rows[:, 4] = np.where(chance.random(cells) < 0.2, chance.uniform(0.4, 1.0, cells), chance.uniform(0.0, 0.5, cells))
    rows[:, 5:] = chance.random((cells, classes))
    return rows


def expected_detections(
    rows: NDArray[np.float32], shape: tuple[int, int], frame: tuple[int, int], options: DetectorSettings
) -> list[Detection]:
    """What YOLOX's paper and its demonstration do with raw outputs, cell by cell."""
    (height, width), (frame_height, frame_width) = shape, frame
    columns, lines = width, round(frame_height * width / frame_width)
    candidates = []
    places = [(x, y, stride) for stride in STRIDES for y in range(height // stride) for x in range(width // stride)]
    for (x, y, stride), row in zip(places, rows, strict=True):
        class_id = int(row[5:].argmax())
        score = row[4] * row[5 + class_id]
        if score < options.conf or class_id not in (options.classes or range(99)):
            continue
        centre = (row[:2] + np.array([x, y], np.float32)) * stride
        half = np.exp(row[2:4]) * stride / 2
        to_frame = (frame_width / columns, frame_height / lines)
        corners = np.concatenate([(centre - half) * to_frame, (centre + half) * to_frame]).clip(
            0, (frame_width, frame_height) * 2
        )
        if corners[0] < corners[2] and corners[1] < corners[3]:
            candidates.append(
                Detection(
                    xyxy=tuple(corners.tolist()),
                    confidence=float(score),
                    class_id=class_id,
                    class_name=f"class-{class_id}",
                )
            )
    kept: list[Detection] = []
    for candidate in sorted(candidates, key=lambda detection: -detection.confidence):
        rivals = [other for other in kept if other.class_id == candidate.class_id]
        if all(box_iou(candidate.xyxy, other.xyxy) <= options.iou for other in rivals):
            kept.append(candidate)
    return kept[: options.max_det]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("changes", [{}, {"classes": (1,)}, {"max_det": 7}, {"conf": 0.1, "iou": 0.2}, {"conf": 0.0}])
def test_postprocessing_equals_a_loop_over_cells(tmp_path: Path, seed: int, changes: dict[str, object]) -> None:
    options, weights = detector_for(tmp_path / "a.onnx", **changes), export(tmp_path / "a.onnx")
    detector = YoloxDetector(options, Compute(threads=1), weights)
    frame = np.zeros((144, 256, 3), np.uint8)
    detector.preprocess(frame)
    rows = raw_outputs(len(grid_cells(96, 128)), 2, seed)
    found = detector.postprocess(rows, frame)
    expected = expected_detections(rows, (96, 128), (144, 256), options)
    assert len(found) == len(expected) > 3
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.class_id, ours.class_name) == (theirs.class_id, theirs.class_name)
        assert ours.confidence == pytest.approx(theirs.confidence, abs=1e-6)
        assert np.allclose(ours.xyxy, theirs.xyxy, atol=1e-3)


def test_nan_is_not_a_detection(tmp_path: Path) -> None:
    detector = YoloxDetector(detector_for(tmp_path / "a.onnx"), Compute(threads=1), export(tmp_path / "a.onnx"))
    frame = np.zeros((144, 256, 3), np.uint8)
    detector.preprocess(frame)
    rows = np.zeros((len(grid_cells(96, 128)), 7), np.float32)
    rows[:7, 4:6] = 0.9
    for row, (column, value) in enumerate(
        ((0, np.nan), (2, np.nan), (4, np.nan), (5, np.nan), (6, np.nan), (0, np.inf), (2, np.inf))
    ):
        rows[row, column] = value
    [endless] = detector.postprocess(rows, frame)  # as wide as can be, so the frame's edges cut it
    assert endless.xyxy[0::2] == (0.0, 256.0)


def focus_export(
    path: Path, *, corners: tuple[tuple[int, int], ...], pads: int = 1, end: int = 2**63 - 1, nodes_hold: bool = False
) -> Path:
    """A network with random weights and YOLOX's Focus stem: four subsampled images, stacked, convolved by 3x3."""
    chance = np.random.default_rng(5)
    tensors = {
        "kernel": chance.normal(size=(7, 12, 3, 3)).astype(np.float32),
        "bias": chance.normal(size=7).astype(np.float32),
        "0": np.array([0]),
        "1": np.array([1]),
        "2": np.array([2]),
        "3": np.array([3]),
        "end": np.array([end]),
        "rows": np.array([1, 7, -1]),
    }
    weights = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    nodes = [helper.make_node("Constant", [], [weight.name], value=weight) for weight in weights] if nodes_hold else []
    for place, (row, column) in enumerate(corners):
        nodes.append(helper.make_node("Slice", ["images", str(row), "end", "2", "2"], [f"lines{place}"]))
        nodes.append(helper.make_node("Slice", [f"lines{place}", str(column), "end", "3", "2"], [f"part{place}"]))
    nodes += [
        helper.make_node("Concat", [f"part{place}" for place in range(len(corners))], ["stack"], axis=1),
        helper.make_node("Conv", ["stack", "kernel", "bias"], ["map"], kernel_shape=[3, 3], pads=[pads] * 4),
        helper.make_node("Reshape", ["map", "rows"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["output"], perm=[0, 2, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "focus",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, "cells", 7])],
        [] if nodes_hold else weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


OFFICIAL = ((0, 0), (1, 0), (0, 1), (1, 1))


@pytest.mark.parametrize(
    ("changes", "joined"),
    [
        ({"corners": OFFICIAL}, True),
        ({"corners": OFFICIAL, "nodes_hold": True}, True),
        ({"corners": ((1, 1), (0, 1), (0, 0), (0, 0))}, True),
        ({"corners": OFFICIAL, "pads": 0}, False),
        ({"corners": OFFICIAL, "end": SIDE - 32}, False),
        ({"corners": ((2, 2),) * 4}, False),
    ],
)
def test_the_stem_becomes_one_equal_convolution(tmp_path: Path, changes: dict[str, Any], joined: bool) -> None:
    path = focus_export(tmp_path / "focus.onnx", **changes)
    model = read_yolox_graph(path).model
    assert ("Slice" not in {node.op_type for node in model.graph.node}) == joined
    image = np.random.default_rng(6).uniform(0, 255, (1, 3, SIDE, SIDE)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"images": image})[0]
        for content in (path.read_bytes(), model.SerializeToString())
    )
    assert np.allclose(before, after, rtol=0, atol=1e-6 * np.abs(before).max())


def test_the_real_stem_is_joined(shared_data: Path) -> None:
    model = read_yolox_graph(shared_data / "yolox_nano.onnx").model
    assert "Slice" not in {node.op_type for node in model.graph.node}
    assert model.graph.node[0].input[0] == model.graph.input[0].name


@pytest.mark.parametrize("content", [b"", b"this is no model\n" * 40, bytes(range(256)) * 8])
def test_a_file_that_is_not_a_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"^[^\n]+a\.onnx[^\n]+YOLOX[^\n]+$"):
        create(detector_for(path)).detect(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "missing.bin", "link.bin", "short.bin"])
def test_weights_beyond_the_folder_of_the_export_are_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    model = onnx.load(export(folder / "a.onnx"))
    (tmp_path / "weights.bin").write_bytes(bytes(1 << 20))
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    (folder / "short.bin").write_bytes(bytes(4))
    kernel = next(tensor for tensor in model.graph.initializer if tensor.name == "kernel8")
    set_external_data(kernel, location, offset=0, length=len(kernel.raw_data))
    kernel.ClearField("raw_data")
    (folder / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match=r"^[^\n]+a\.onnx[^\n]+YOLOX[^\n]+$"):
        create(detector_for(folder / "a.onnx"))


def test_a_model_that_is_not_yolox_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "other",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 64, 64])],
    )
    onnx.save(helper.make_model(graph), path)
    with pytest.raises(CheckpointError, match=r"expected a YOLOX export"):
        create(detector_for(path))
    with pytest.raises(CheckpointError, match=r"expected a YOLOX export"):
        create(detector_for(export(path, strides=(8, 16)))).detect(np.zeros((64, 64, 3), np.uint8))


def test_weights_that_are_missing_or_named_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.onnx"):
        create(DetectorSettings(model="yolox-nano", weights=str(tmp_path / "none.onnx")))
    path = export(tmp_path / "a.onnx")
    with pytest.raises(SettingsError, match=r"^detector\.weights: "):
        create(DetectorSettings(model=str(path), weights=str(path)))


def fixed_like_the_official(path: Path, target: Path) -> Path:
    """The same weights with the number of cells written into the Reshape nodes, as the official release has it."""
    model = onnx.load(path)
    shapes = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "Reshape"]
    for node, stride in zip(nodes, STRIDES, strict=True):
        fixed = np.array([1, 85, (416 // stride) ** 2], np.int64)
        shapes[node.input[1]].CopyFrom(numpy_helper.from_array(fixed, node.input[1]))
    onnx.save(model, target)
    return target


def real_pictures(shared_data: Path) -> list[NDArray[np.uint8]]:
    pictures = [np.asarray(cv2.imread(str(shared_data / "images" / "dog.jpg")), np.uint8)]
    for clip in ("cups", "coffee"):
        capture = cv2.VideoCapture(str(shared_data / "clips" / f"{clip}.mp4"))
        pictures.append(np.asarray(capture.read()[1], np.uint8))
        capture.release()
    return pictures


def test_real_weights_find_the_same_at_the_pictures_shape_and_in_a_square(shared_data: Path, tmp_path: Path) -> None:
    weights = fixed_like_the_official(shared_data / "yolox_nano.onnx", tmp_path / "official.onnx")
    options = DetectorSettings(model="yolox-nano", weights=str(weights))
    for picture in real_pictures(shared_data):
        below, beside = (max(picture.shape[:2]) - side for side in picture.shape[:2])
        square = cv2.copyMakeBorder(picture, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=(114, 114, 114))
        found = create(options, threads=2).detect(picture)
        expected = create(options, threads=2).detect(np.asarray(square, np.uint8))
        for ours, theirs in ((found, expected), (expected, found)):
            confident = [detection for detection in ours if detection.confidence > 0.6]
            assert confident
            for detection in confident:
                partners = [other for other in theirs if other.class_id == detection.class_id]
                assert max((box_iou(detection.xyxy, other.xyxy) for other in partners), default=0.0) > 0.9


def test_real_weights_on_the_dog(shared_data: Path) -> None:
    options = DetectorSettings(model="yolox-nano", weights=str(shared_data / "yolox_nano.onnx"), conf=0.6)
    found = by_class(create(options).detect(real_pictures(shared_data)[0]))
    assert set(found) == {"dog", "bicycle", "car"}
    assert box_iou(found["dog"], (130.0, 218.0, 312.0, 540.0)) > 0.85
    assert box_iou(found["car"], (468.0, 75.0, 690.0, 170.0)) > 0.85
