from __future__ import annotations

import numpy as np
import pytest

from streamseg.masks import Mask
from streamseg.messages import Detection, SourceState, TrackedObject
from streamseg.monitor.texts import objects_text, waiting_text


def states(*given: str) -> dict[str, SourceState]:
    return {
        f"cam{place}": SourceState(run_id="a", source=f"cam{place}", stage="capture", state=state)
        for place, state in enumerate(given)
    }


def test_the_cause_follows_where_it_is_known() -> None:
    lost = SourceState(run_id="a", source="cam", stage="capture", state="disconnected", detail="refused; check it")
    assert waiting_text({"cam": lost}, 5, "") == "camera disconnected, retrying (5 s): refused; check it"


@pytest.mark.parametrize(
    ("given", "idle_s", "text"),
    [
        ((), 1.9, None),
        ((), 2.0, "waiting for tcp://127.0.0.1:5555"),
        (("running",), 1.9, None),
        (("running",), 7.4, "no picture for 7 s, but the pipeline runs"),
        (("disconnected",), 0.1, "camera disconnected, retrying (0 s)"),
        (("disconnected",), 12.3, "camera disconnected, retrying (12 s)"),
        (("running", "disconnected"), 3.0, "camera disconnected, retrying (3 s)"),
        (("starting",), 4.0, "waiting for the first picture of the source (4 s)"),
        (("restarting",), 1.0, "the process that reads the source restarts (1 s)"),
        (("covered",), 1.0, "cam0: covered (1 s)"),
    ],
)
def test_a_window_says_why_no_picture_comes(given: tuple[str, ...], idle_s: float, text: str | None) -> None:
    assert waiting_text(states(*given), idle_s, "waiting for tcp://127.0.0.1:5555") == text


def object_number(number: int, mask: Mask | None = None) -> TrackedObject:
    detection = Detection(xyxy=(0, 0, 9, 9), confidence=0.9, class_id=0, class_name="cup", tracker_id=number)
    return TrackedObject(detection=detection, mask=mask)


def test_the_line_of_a_frame_lists_its_objects_but_not_without_end() -> None:
    assert objects_text([]) == "no objects"
    assert objects_text([object_number(1, Mask(0, 0, np.ones((2, 3), np.bool_))), object_number(2)]) == (
        "cup#1 6, cup#2 pending"
    )
    line = objects_text([object_number(number) for number in range(1024)])
    assert line.endswith(", cup#23 pending, and 1000 more")
