from __future__ import annotations

import numpy as np
import pytest

from streamseg.messages import Detection
from streamseg.propagate.crop import FLOW_SIDE, Flow, Motion, window_flow
from streamseg.propagate.motion import Path, Predicted, Step, Unpredictable
from streamseg.window import Window

SHARE = np.ones((FLOW_SIDE, FLOW_SIDE), np.float32)
FOUND = Detection(xyxy=(100.0, 80.0, 200.0, 180.0), confidence=0.9, class_id=0, class_name="star", tracker_id=1)


def step(seq: int, motion: Motion | None, known: bool = True) -> Step:
    """A step in one window; without a motion there is no flow, and an unknown object has no share."""
    window = Window(80, 60, 220, 200)
    flow: Flow | None = None if motion is None else window_flow(window, window, motion, FLOW_SIDE)[None]
    return Step(seq, window, window, window, flow, SHARE if known else None)


def path(*steps: Step) -> Path:
    one = Path()
    for each in steps:
        one.append(each)
    return one


@pytest.mark.parametrize("motion", [(10.0, -4.0), (0.0, 0.0)])
def test_an_objects_motion_is_measured_in_any_windows(motion: Motion) -> None:
    """The window grows meanwhile, and the object lies in its upper left."""
    before, after = Window(100, 80, 300, 240), Window(90, 70, 330, 270)
    share = np.zeros((FLOW_SIDE, FLOW_SIDE), np.float32)
    share[5:15, 4:12] = 1
    one = Step(1, before, after, after, window_flow(before, after, motion, FLOW_SIDE)[None], share)
    assert one.motion == pytest.approx(motion, abs=0.01)


def test_a_detection_moves_on_by_the_motion_since_and_the_newest_speed() -> None:
    """Found on frame 1; 6 and 8 pixels to frame 3, and 8 more to frame 4."""
    one = path(step(0, None), step(1, (4, 0)), step(2, (6, 0)), step(3, (8, 2)))
    position = one.predict(FOUND, 1, 4)
    assert isinstance(position, Predicted)
    assert position.motion == pytest.approx((8, 2), abs=0.01)
    assert position.detection.xyxy == pytest.approx((122, 84, 222, 184), abs=0.05)
    assert position.detection.tracker_id == 1


def test_of_a_step_over_dropped_frames_only_the_rest_counts() -> None:
    """One step leads from frame 0 to frame 4 by 20 pixels: a detection of frame 3 has moved 5 of them by frame 4."""
    one = path(step(0, None), step(4, (20, 0)))
    position = one.predict(FOUND, 3, 5)
    assert isinstance(position, Predicted)
    assert position.motion == pytest.approx((5, 0), abs=0.01)
    assert position.detection.xyxy[0] == pytest.approx(110, abs=0.05)


def test_an_object_seen_once_is_predicted_where_it_was() -> None:
    assert path(step(0, None)).predict(FOUND, 0, 1) == Predicted(FOUND, (0.0, 0.0))
    assert path(step(0, None)).motion_to(1) is None


@pytest.mark.parametrize(
    ("steps", "found_on"),
    [
        pytest.param([], 0, id="never seen"),
        pytest.param([step(0, None), step(1, (4, 0), known=False)], 0, id="which pixels are its own is unknown"),
        pytest.param([step(0, None), step(1, (4, 0)), step(2, None)], 1, id="a frame without flow since"),
        pytest.param([step(3, None)], 1, id="found before its first frame"),
    ],
)
def test_an_object_whose_motion_is_unknown_is_unpredictable(steps: list[Step], found_on: int) -> None:
    assert path(*steps).predict(FOUND, found_on, 4) == Unpredictable(FOUND)
