from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from streamseg.bench.true_models import JITTER, LEAST_SHARE, MISSED, TrueBoxes, TrueMasks, TrueScene, match
from streamseg.geometry import box_iou
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models.detectors.yolox import Rows, YoloxDetector
from streamseg.models.options import Compute, DetectorSettings, SegmenterSettings


@pytest.fixture(scope="module")
def scene() -> TrueScene:
    return TrueScene()


def test_boxes_are_off_and_missed_as_documented(scene: TrueScene) -> None:
    shifts: list[float] = []
    expected = found = 0
    for number in range(0, 1600, 16):
        objects = scene.objects(number)
        assert min(item.share for item in objects) >= LEAST_SHARE
        detections = scene.detections_in(scene.render(number))
        expected, found = expected + len(objects), found + len(detections)
        overlaps = [[box_iou(each.xyxy, item.xyxy) for item in objects] for each in detections]
        for _, row, column in match(overlaps):
            box, true = detections[row].xyxy, objects[column].xyxy
            width, height = true[2] - true[0], true[3] - true[1]
            shifts += (np.subtract(box, true) / (width, height, width, height)).tolist()
    assert 1 - found / expected == pytest.approx(MISSED, abs=0.03)
    # Percentiles, because boxes of overlapping objects may be matched crosswise.
    low, high = np.percentile(shifts, [16, 84])
    assert (high - low) / 2 == pytest.approx(JITTER, rel=0.1)


def test_the_same_frame_has_the_same_boxes_and_another_picture_none(scene: TrueScene) -> None:
    image = scene.render(42)
    assert scene.detections_in(image) == TrueScene().detections_in(image.copy())
    prepared: list[list[Detection]] = [[]] * 42 + [scene.detections_in(image)[:1]]
    assert TrueScene(prepared).detections_in(image) == prepared[42]
    assert TrueScene(prepared[:42]).detections_in(image) == scene.detections_in(image)
    assert scene.detections_in(image) != scene.detections_in(scene.render(43))
    assert scene.detections_in(np.zeros((360, 640, 3), np.uint8)) == []


def test_the_detector_computes_on_every_frame_and_returns_the_truth(
    scene: TrueScene, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[tuple[int, ...]] = []
    infer = YoloxDetector.infer

    def record(self: YoloxDetector, tensor: Rows) -> Rows:
        computed.append(tensor.shape)
        return infer(self, tensor)

    monkeypatch.setattr(YoloxDetector, "infer", record)
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path))
    scene.write(tmp_path, 4)
    detector = TrueBoxes(
        DetectorSettings(model="true-boxes", weights=str(shared_data / "yolox_nano.onnx")), Compute(threads=1)
    )
    for number in (3, 4):
        image = scene.render(number)
        assert detector.detect(image) == scene.detections_in(image) != []
    assert computed == [(1, 3, 256, 416)] * 2


class RecordingSegmenter:
    """Records what reaches the network, and finds nothing."""

    name = "recording"

    def __init__(self) -> None:
        self.decoded: list[tuple[object, int]] = []

    def describe(self) -> str:
        return "recording (1 thread)"

    def encode(self, image: Image) -> tuple[int, ...]:
        return image.shape

    def decode(self, embedding: tuple[int, ...], detections: Sequence[Detection]) -> list[ObjectMask]:
        self.decoded.append((embedding, len(detections)))
        return [ObjectMask(None) for _ in detections]


def test_the_segmenter_computes_every_box_and_returns_the_truth(
    scene: TrueScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path))
    scene.write(tmp_path, 0)
    network = RecordingSegmenter()
    models: list[str] = []

    def create(settings: SegmenterSettings, compute: Compute) -> RecordingSegmenter:
        models.append(settings.model)
        return network

    monkeypatch.setattr("streamseg.bench.true_models.create_segmenter", create)
    segmenter = TrueMasks(SegmenterSettings(model="true-masks", backend="torch", imgsz=512), Compute(device="cpu"))
    objects = scene.objects(0)
    boxes = [Detection(xyxy=item.xyxy, confidence=1.0, class_id=0, class_name="object") for item in objects]
    nowhere = Detection(xyxy=(0.0, 700.0, 2.0, 702.0), confidence=1.0, class_id=0, class_name="object")
    found = segmenter.decode(segmenter.encode(scene.render(0)), [*boxes, nowhere])
    masks = [each.mask for each in found[:-1]]
    assert all(mask is not None and mask.iou(item.mask) == 1 for mask, item in zip(masks, objects, strict=True))
    assert found[-1].mask is None
    assert (models, network.decoded) == (["mobilesam"], [((720, 1280, 3), 6)])
