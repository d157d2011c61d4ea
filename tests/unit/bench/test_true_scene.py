from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from streamseg.bench.true_boxes import TrueBoxes
from streamseg.bench.true_masks import TrueMasks
from streamseg.bench.true_scene import JITTER, LEAST_SHARE, MISSED, TrueScene, assign
from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Detection, ObjectMask
from streamseg.models.detectors.yolox import Rows, YoloxDetector
from streamseg.models.options import DetectorOptions, SegmenterOptions
from streamseg.models.segmenters.mobile_sam.segmenter import FrameEmbedding, MobileSam
from streamseg.sources.scene import TruthObject


@pytest.fixture(scope="module")
def scene() -> TrueScene:
    return TrueScene()


def test_boxes_are_off_by_as_much_as_is_said_and_some_are_missed(scene: TrueScene) -> None:
    shifts: list[float] = []
    expected = found = 0
    for number in range(0, 1600, 4):
        objects = scene.objects(number)
        assert min(item.share for item in objects) >= LEAST_SHARE
        detections = scene.detections(scene.render(number))
        expected, found = expected + len(objects), found + len(detections)
        matched = assign([detection.xyxy for detection in detections], objects)
        for detection, item in zip(detections, matched, strict=True):
            assert item is not None
            width, height = item.xyxy[2] - item.xyxy[0], item.xyxy[3] - item.xyxy[1]
            differences = np.subtract(detection.xyxy, item.xyxy)
            shifts += (differences / (width, height, width, height)).tolist()
    assert 1 - found / expected == pytest.approx(MISSED, abs=0.015)
    # Where two boxes are alike, one may be taken for the other: a few shifts are large.
    low, high = np.percentile(shifts, [16, 84])
    assert (high - low) / 2 == pytest.approx(JITTER, rel=0.1)


def test_the_same_frame_has_the_same_boxes_and_another_picture_none(scene: TrueScene) -> None:
    image = scene.render(42)
    assert scene.detections(image) == TrueScene().detections(image.copy()) != scene.detections(scene.render(43))
    assert scene.detections(np.zeros((360, 640, 3), np.uint8)) == []


def test_boxes_are_assigned_to_the_objects_that_they_overlap_most() -> None:
    objects = [square(0), square(50), square(400)]
    boxes: list[Box] = [(52, 0, 152, 100), (30, 0, 130, 100), (900, 0, 999, 100)]
    assert assign(boxes, objects) == [objects[1], objects[0], None]
    assert assign([], objects) == []
    assert assign(boxes, []) == [None, None, None]


def square(left: int) -> TruthObject:
    mask = Mask(left, 0, np.ones((100, 100), np.bool_))
    return TruthObject(mask.xyxy, mask, "object", 1, 1.0)


def test_the_detector_computes_on_every_frame_and_answers_the_scene(
    scene: TrueScene, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[tuple[int, ...]] = []
    really = YoloxDetector.infer

    def infer(self: YoloxDetector, tensor: Rows) -> Rows:
        computed.append(tensor.shape)
        return really(self, tensor)

    monkeypatch.setattr(YoloxDetector, "infer", infer)
    detector = TrueBoxes(DetectorOptions(model="true-boxes", weights=shared_data / "yolox_nano.onnx"))
    for number in (3, 4):
        image = scene.render(number)
        assert detector.detect(image) == scene.detections(image) != []
    assert computed == [(1, 3, 256, 416)] * 2


def test_the_segmenter_computes_every_box_and_answers_the_scene(
    scene: TrueScene, mobile_sam: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    really = MobileSam.decode

    def decode(self: MobileSam, embedding: FrameEmbedding, detections: Sequence[Detection]) -> list[ObjectMask]:
        computed.append(len(detections))
        return really(self, embedding, detections)

    monkeypatch.setattr(MobileSam, "decode", decode)
    segmenter = TrueMasks(
        SegmenterOptions(model="true-masks", weights=mobile_sam, backend="torch", imgsz=512, device="cpu")
    )
    image, objects = scene.render(0), scene.objects(0)
    boxes = [Detection(xyxy=item.xyxy, confidence=1.0, class_id=0, class_name="object") for item in objects]
    nowhere = Detection(xyxy=(0.0, 700.0, 2.0, 702.0), confidence=1.0, class_id=0, class_name="object")
    answers = segmenter.decode(segmenter.encode(image), [*boxes, nowhere])
    assert [
        answer.mask.iou(item.mask) for answer, item in zip(answers, objects, strict=False) if answer.mask is not None
    ] == [1.0] * 5
    assert answers[-1].mask is None
    assert computed == [6]
