from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from streamseg.errors import SettingsError
from streamseg.models.detectors.classes import class_numbers
from streamseg.models.options import Compute, DetectorSettings, FixedBox
from streamseg.models.registry import create_detector

FRAME = np.zeros((48, 64, 3), np.uint8)


def box(left: float, top: float, right: float, bottom: float, name: str = "cup") -> FixedBox:
    return FixedBox(xyxy=(left, top, right, bottom), name=name)


def test_returns_the_boxes_clipped_to_the_frame() -> None:
    boxes = (box(4.0, 5.0, 20.0, 30.0), box(-3.0, 40.0, 70.0, 60.0, name="table"), box(1.0, 1.0, 2.0, 2.0))
    found = create_detector(DetectorSettings(model="fixed", boxes=boxes), Compute()).detect(FRAME)
    assert [detection.xyxy for detection in found] == [
        (4.0, 5.0, 20.0, 30.0),
        (0.0, 40.0, 64.0, 48.0),
        (1.0, 1.0, 2.0, 2.0),
    ]
    assert [(detection.class_id, detection.class_name) for detection in found] == [(0, "cup"), (1, "table"), (0, "cup")]
    assert {detection.confidence for detection in found} == {1.0}


def test_drops_a_box_outside_the_frame() -> None:
    detector = create_detector(
        DetectorSettings(model="fixed", boxes=(box(64.0, 0.0, 80.0, 20.0), box(0.0, 0.0, 8.0, 8.0))), Compute()
    )
    assert [detection.xyxy for detection in detector.detect(FRAME)] == [(0.0, 0.0, 8.0, 8.0)]


def test_keeps_wanted_classes_and_at_most_max_det() -> None:
    boxes = (box(0.0, 0.0, 8.0, 8.0), box(8.0, 0.0, 16.0, 8.0, name="hand"), box(16.0, 0.0, 24.0, 8.0, name="hand"))
    detector = create_detector(DetectorSettings(model="fixed", boxes=boxes, classes=("hand",), max_det=1), Compute())
    assert [(detection.class_name, detection.class_id) for detection in detector.detect(FRAME)] == [("hand", 1)]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"model": "fixed", "boxes": (box(0.0, 0.0, 5.0, 9.0),), "classes": ("hand",)}, "detector.classes"),
        ({"model": "motion", "classes": ("person",)}, "detector.classes"),
        ({"model": "motion", "conf": float("nan")}, "detector.conf"),
        ({"model": "motion", "iou": 1.5}, "detector.iou"),
        ({"model": "motion", "max_det": 0}, "detector.max_det"),
        ({"model": "motion", "imgsz": 400}, "detector.imgsz"),
        ({"model": "nonsense"}, "detector.model"),
    ],
)
def test_bad_settings_name_their_key(settings: dict[str, object], key: str) -> None:
    with pytest.raises(SettingsError, match=f"^{key}: [^\n]+$"):
        create_detector(DetectorSettings(**settings), Compute())  # type: ignore[arg-type]


def test_bad_boxes_and_threads_name_their_key() -> None:
    with pytest.raises(SettingsError, match=r"^detector\.boxes: .* at least one box"):
        DetectorSettings(model="fixed")
    for wrong in ((5.0, 5.0, 5.0, 9.0), (0.0, 0.0, float("nan"), 9.0)):
        with pytest.raises(SettingsError, match=r"^detector\.boxes: [^\n]+ x1 < x2"):
            box(*wrong)
    with pytest.raises(SettingsError, match=r"^threads: "):
        create_detector(DetectorSettings(model="motion"), Compute(threads=0))


def test_classes_by_name_and_number() -> None:
    assert class_numbers(("a", "b", "c"), ("c", 0)) == {0, 2}
    assert class_numbers(("a", "b", "c"), None) == {0, 1, 2}
    for unknown in ("d", 3, -1):
        with pytest.raises(SettingsError, match=r"^detector\.classes: "):
            class_numbers(("a", "b", "c"), (unknown,))


@pytest.mark.parametrize(
    ("model", "unwanted"),
    [("motion", ("torch", "onnx", "onnxruntime")), ("fixed", ("torch", "onnx", "onnxruntime", "cv2"))],
)
def test_detectors_load_only_what_they_need(model: str, unwanted: tuple[str, ...]) -> None:
    program = (
        "import sys; from streamseg.models.options import Compute, DetectorSettings, FixedBox; "
        "from streamseg.models.registry import create_detector; "
        f"create_detector(DetectorSettings(model={model!r}, boxes=(FixedBox(xyxy=(0.0, 0.0, 8.0, 8.0)),)), Compute()); "
        f"print([name for name in {unwanted!r} if name in sys.modules])"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (outcome.returncode, outcome.stdout.strip()) == (0, "[]"), outcome.stderr
