from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from streamseg.messages import Detection
from streamseg.stages.tracking import Tracker

CONF = 0.25
FRAME_NS = 33_000_000


def found(left: float, top: float = 50.0, class_id: int = 0, confidence: float = 0.9) -> Detection:
    box = (left, top, left + 40.0, top + 60.0)
    return Detection(xyxy=box, confidence=confidence, class_id=class_id, class_name=f"class {class_id}")


def ids(detections: Sequence[Detection]) -> list[int | None]:
    return [detection.tracker_id for detection in detections]


@st.composite
def scenes(draw: st.DrawFn) -> list[list[Detection]]:
    """Frames with objects that move, jump, hide and change their confidence."""
    objects = draw(
        st.lists(st.tuples(st.floats(0, 500), st.floats(-12, 12), st.integers(0, 2)), min_size=1, max_size=4)
    )
    frames = []
    for number in range(draw(st.integers(4, 12))):
        seen = draw(st.lists(st.booleans(), min_size=len(objects), max_size=len(objects)))
        confidence = draw(st.floats(0.2, 1.0))
        frames.append(
            [
                found(left + speed * number, class_id=class_id, confidence=confidence)
                for (left, speed, class_id), visible in zip(objects, seen, strict=True)
                if visible
            ]
        )
    return frames


def test_ids_begin_at_one_and_stay_with_their_objects() -> None:
    tracker = Tracker(CONF)
    assert ids(tracker.update([found(0), found(300)], 0)) == [None, None]
    for step in range(1, 60):
        moved = [found(5.0 * step), found(300.0 - 2 * step, top=200.0 if step > 30 else 50.0 + 5 * step)]
        tracked = tracker.update(moved, step * FRAME_NS)
        assert ids(tracked) == [1, 2]
        assert [detection.xyxy for detection in tracked] == [detection.xyxy for detection in moved]


def test_the_order_of_detections_does_not_matter() -> None:
    tracker = Tracker(CONF)
    for step in range(4):
        tracker.update([found(0), found(300)], step * FRAME_NS)
    assert ids(tracker.update([found(300), found(0)], 4 * FRAME_NS)) == [2, 1]


def test_an_object_never_takes_over_the_track_of_another_class() -> None:
    tracker = Tracker(CONF)
    for step in range(4):
        tracked = tracker.update([found(100), found(100, class_id=1)], step * FRAME_NS)
    assert ids(tracked) == [1, 2]
    tracked = tracker.update([found(100, class_id=1)], 4 * FRAME_NS)
    assert ids(tracked) == [2]
    tracked = tracker.update([found(100, class_id=2)], 5 * FRAME_NS)
    assert ids(tracked) == [None]
    assert ids(tracker.update([found(100, class_id=2)], 6 * FRAME_NS)) == [3]


def test_an_object_that_hides_for_a_moment_keeps_its_id() -> None:
    tracker = Tracker(CONF)
    for step in range(4):
        tracker.update([found(100)], step * FRAME_NS)
    for step in range(4, 14):
        assert tracker.update([], step * FRAME_NS) == ()
    assert ids(tracker.update([found(100)], 14 * FRAME_NS)) == [1]


def test_no_id_is_given_twice() -> None:
    tracker = Tracker(CONF)
    all_ids = []
    for visit in range(5):
        start = visit * 10_000_000_000
        for step in range(3):
            tracked = tracker.update([found(100)], start + step * FRAME_NS)
        all_ids += ids(tracked)
        tracker.update([], start + 5_000_000_000)
    assert all_ids == [1, 2, 3, 4, 5]


@settings(max_examples=40, deadline=None)
@given(scenes(), st.data())
def test_a_restored_tracker_continues_exactly(scene: list[list[Detection]], data: st.DataObject) -> None:
    restored_at = data.draw(st.integers(0, len(scene)))
    undisturbed, first, second = Tracker(CONF), Tracker(CONF), Tracker(CONF)
    expected = [undisturbed.update(frame, step * FRAME_NS) for step, frame in enumerate(scene)]
    got = [first.update(frame, step * FRAME_NS) for step, frame in enumerate(scene[:restored_at])]
    second.restore(first.state())
    got += [second.update(frame, step * FRAME_NS) for step, frame in enumerate(scene[restored_at:], start=restored_at)]
    assert got == expected


def test_the_state_does_not_grow() -> None:
    tracker = Tracker(CONF)
    sizes = []
    for step in range(2000):
        # A new object every ten frames, each of one of twenty classes.
        tracker.update([found(step // 10 % 10 * 60.0, class_id=step // 10 % 20)], step * FRAME_NS)
        if step % 200 == 199:
            sizes.append(len(tracker.state()))
    assert max(sizes) <= sizes[0] + 64  # higher numbers may take a few more bytes
