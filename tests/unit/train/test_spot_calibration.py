"""Calibration of spot, with detections whose share of right ones is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from streamseg.messages import Detection, Image
from streamseg.train.spot.calibration import JudgedDetection, calibrate, judge_detections, reliability_error
from streamseg.train.spot.labels import LabelledPhotograph
from streamseg.train.spot.network import BOX, SpotNetwork


def judged(confidences: np.ndarray, right: np.ndarray) -> list[JudgedDetection]:
    return [JudgedDetection(float(one) / 0.9, 0.9, bool(hit)) for one, hit in zip(confidences, right, strict=True)]


def test_the_reliability_error_is_how_far_a_detector_is_too_sure() -> None:
    random = np.random.default_rng(1)
    confidences = random.uniform(0.1, 0.85, 20_000)
    drawn = random.random(20_000)
    assert reliability_error(judged(confidences, drawn < confidences)) < 0.01
    assert reliability_error(judged(confidences, drawn < confidences - 0.1)) == pytest.approx(0.1, abs=0.01)
    assert reliability_error([]) == 0


def test_calibration_corrects_a_network_that_is_too_sure() -> None:
    random = np.random.default_rng(2)
    logits = torch.from_numpy(random.normal(0, 1.5, 5000)).float()
    true = (0.5 * logits - 1).sigmoid() * 0.9
    right = random.random(5000) < true.numpy()
    network = SpotNetwork(2).eval()
    picture = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        before = network(picture)
    calibrate(
        network,
        [JudgedDetection(float(one.sigmoid()), 0.9, bool(hit)) for one, hit in zip(logits, right, strict=True)],
    )
    with torch.no_grad():
        after = network(picture)
    expected = 0.5 * before[..., BOX] - 1
    torch.testing.assert_close(after[..., BOX], expected, atol=0.3, rtol=0.1)
    others = [place for place in range(after.shape[-1]) if place != BOX]
    torch.testing.assert_close(after[..., others], before[..., others])


class Found:
    """A detector that finds the same boxes in every photograph, each in a cell of its own."""

    def __init__(self, *found: tuple[tuple[float, float, float, float], int, float]) -> None:
        self._found = found

    def preprocess(self, image: Image) -> Image:
        return image

    def infer(self, tensor: Image) -> np.ndarray:
        rows = np.zeros((len(self._found), BOX + 1 + 2), np.float32)
        for row, (_, label, confidence) in zip(rows, self._found, strict=True):
            row[BOX], row[BOX + 1 + label] = confidence / 0.8, 0.8
        return rows

    def postprocess(self, rows: np.ndarray, image: Image) -> list[Detection]:
        return [
            Detection(xyxy=box, confidence=confidence, class_id=label, class_name=str(label))
            for box, label, confidence in self._found
        ]


def test_a_detection_is_right_once_for_each_object_and_only_with_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    box, small = (10.0, 10.0, 50.0, 50.0), (70.0, 70.0, 75.0, 75.0)
    photograph = LabelledPhotograph(Path("x"), np.array([box], np.float32), np.array([1]), True)
    monkeypatch.setattr(LabelledPhotograph, "read", lambda self: np.zeros((96, 96, 3), np.uint8))
    detector = Found((box, 0, 0.72), (box, 1, 0.64), ((12.0, 10.0, 52.0, 50.0), 1, 0.4), (small, 1, 0.3))
    found = judge_detections(detector, [photograph])  # type: ignore[arg-type]
    assert [one.right for one in found] == [False, True, False]
    assert found[1].objectness == pytest.approx(0.8) and found[1].class_probability == pytest.approx(0.8)
