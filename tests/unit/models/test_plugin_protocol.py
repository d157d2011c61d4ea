"""What a plug-in answers is held against its protocol; whatever it gets wrong is an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.plugin_files import offer

from streamseg.errors import StageError, WeightsError
from streamseg.messages import Detection, ObjectMask
from streamseg.models import Detector, Segmenter, StatefulDetector
from streamseg.models.options import Compute, DetectorSettings, SegmenterSettings
from streamseg.models.registry import create_detector, create_segmenter

FRAME = np.zeros((60, 80, 3), np.uint8)
BOX = Detection(xyxy=(10.0, 10.0, 20.0, 20.0), confidence=1.0, class_id=0, class_name="cup")
IMPORTS = """
import numpy as np
from streamseg.errors import WeightsError
from streamseg.masks import Mask
from streamseg.messages import Detection, ObjectMask
class Lost(WeightsError): pass
def lose(): raise Lost("lost")
def found(xyxy=(1, 2, 3, 4), confidence=0.5, class_id=1, class_name="mug"):
    return Detection(xyxy=xyxy, confidence=confidence, class_id=class_id, class_name=class_name)
"""
DETECTOR = """
class make:
    name, classes = "mine", ["cup", "mug"]
    def __init__(self, settings, compute): self.settings = settings
    def detect(self, image): return {answer}
"""
STATE = """
    def state(self): return b"seen"
    def restore(self, state): self.settings = state
"""
SEGMENTER = """
class make:
    name = "mine"
    def __init__(self, settings, compute): pass
    def encode(self, image): return image.shape
    def decode(self, embedding, detections): return {answer}
    def describe(self): return "mine on paper"
"""


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Detector]:
    """Makes the detector that gives an answer, written in Python."""

    def make(answer: str) -> Detector:
        monkeypatch.syspath_prepend(tmp_path)
        offer(tmp_path, "detector", "mine", IMPORTS + DETECTOR.format(answer=answer), package=tmp_path.name)
        return create_detector(DetectorSettings(model="mine", max_det=3), Compute())

    return make


@pytest.fixture
def segmenter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Segmenter[Any]]:
    """The same for a segmenter."""

    def make(answer: str) -> Segmenter[Any]:
        monkeypatch.syspath_prepend(tmp_path)
        offer(tmp_path, "segmenter", "mine", IMPORTS + SEGMENTER.format(answer=answer), package=tmp_path.name)
        return create_segmenter(SegmenterSettings(model="mine"), Compute())

    return make


def test_detections_get_python_numbers_and_clipped_boxes(detector: Callable[[str], Detector]) -> None:
    made = detector(
        "(found(np.float32([-5, 2.5, 30, 99]), np.float32(0.5), np.int64(1), np.str_('mug')) for _ in range(9))"
    )
    answers = made.detect(FRAME)
    assert (made.name, made.classes) == ("mine", ("cup", "mug"))
    assert answers == [Detection(xyxy=(0.0, 2.5, 30.0, 60.0), confidence=0.5, class_id=1, class_name="mug")] * 3
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(answers), type=list[Detection]) == answers


@pytest.mark.parametrize("memory", ["", STATE])
def test_a_detector_may_have_a_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    code = IMPORTS + DETECTOR.format(answer="[found()] if self.settings == b'seen' else []") + memory
    offer(tmp_path, "detector", "mine", code, package=tmp_path.name)
    made = create_detector(DetectorSettings(model="mine"), Compute())
    assert isinstance(made, StatefulDetector)
    made.restore(made.state())
    assert len(made.detect(FRAME)) == bool(memory)


@pytest.mark.parametrize("box", ["80, 0, 99, 9", "-9, 0, 0, 9", "0, 70, 9, 99", "5, 5, 5, 9", "5, 5, 9, 5"])
def test_a_box_outside_the_frame_does_not_count(detector: Callable[[str], Detector], box: str) -> None:
    answers = detector(f"[found(({box}))] * 5 + [found()]").detect(FRAME)
    assert [found.xyxy for found in answers] == [(1.0, 2.0, 3.0, 4.0)]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("None", "failed: TypeError: 'NoneType' object is not iterable"),
        ("[(1, 2, 3, 4)]", "detect returned a tuple; expected"),
        (
            "[found((9, 0, 5, 9))]",
            r"the box \(9\.0, 0\.0, 5\.0, 9\.0\) ends before it begins; expected left, top, right, bottom",
        ),
        ("[found((90, 0, 99, 9), class_id=2)]", "class_id 2 is not the place of 'mug'"),
        ("[found((9, 0, float('nan'), 9))]", "failed: ValueError: a detection's numbers must be finite"),
        ("[found(class_id=2)]", "class_id 2 is not the place of 'mug' among its 2 classes"),
        (r"self.classes.append('\ud800') or [found(class_id=2, class_name='\ud800')]", r"the class name '\\ud800'"),
        ("[found(class_name='cup')]", "class_id 1 is not the place of 'cup'"),
        ("[1 / 0]", "failed: ZeroDivisionError: division by zero; repair it, or choose another detector.model"),
    ],
)
def test_a_wrong_detection_names_the_plugin(detector: Callable[[str], Detector], answer: str, complaint: str) -> None:
    made = detector(answer)
    with pytest.raises(StageError, match=rf"^the plug-in 'mine' of \w+:? {complaint}"):
        made.detect(FRAME)


def test_an_error_of_the_plugins_own_keeps_its_exit_code(detector: Callable[[str], Detector]) -> None:
    with pytest.raises(WeightsError, match=r"^the plug-in 'mine' of \w+: lost$") as caught:
        detector("lose()").detect(FRAME)
    assert type(caught.value) is WeightsError


def test_masks_pass_with_python_numbers(segmenter: Callable[[str], Segmenter[Any]]) -> None:
    mask = "Mask(70, 50, np.ones((10, 10), np.bool_))"
    made = segmenter(f"[ObjectMask({mask}, np.float32(0.5), np.float64(0.25)), ObjectMask(None, 0.5)]")
    first, second = made.decode(made.encode(FRAME), [BOX, BOX])
    assert first.mask is not None
    assert first.mask.xyxy == (70.0, 50.0, 80.0, 60.0)
    assert [type(first.predicted_iou), first.predicted_iou, type(first.stability), first.stability] == [
        float,
        0.5,
        float,
        0.25,
    ]
    assert second == ObjectMask(None)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("[]", ": decode returned 0 masks for 1 detections; expected one for each"),
        ("[ObjectMask(None)] * 2", ": decode returned 2 masks for 1 detections"),
        ("[None]", ": decode returned a NoneType; expected"),
        (
            "[ObjectMask(np.ones((60, 80)))]",
            r": decode returned a mask that is not a streamseg\.masks\.Mask inside",
        ),
        (
            "[ObjectMask(Mask(71, 50, np.ones((10, 10), np.bool_)))]",
            ": decode returned a mask that is not .* inside the frame, 80x60",
        ),
        ("[1 / 0]", " failed: ZeroDivisionError: division by zero; repair it, or choose another segmenter.model"),
    ],
)
def test_a_wrong_mask_names_the_plugin(segmenter: Callable[[str], Segmenter[Any]], answer: str, complaint: str) -> None:
    made = segmenter(answer)
    with pytest.raises(StageError, match=rf"^the plug-in 'mine' of \w+{complaint}"):
        made.decode(made.encode(FRAME), [BOX])
