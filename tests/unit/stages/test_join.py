from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamseg.ipc.descriptors import Boxes, FrameDescriptor, Masks
from streamseg.ipc.ring import RingName
from streamseg.masks import Mask
from streamseg.messages import Detection
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask
from streamseg.stages.join import JoinedFrame, NewestJoin, OrderedJoin, ReceivedFrame
from streamseg.stages.packing import pack_keyframe_mask

WIDTH, HEIGHT, SIDE = 320, 240, 40
INTERVAL_MS = 40
MODEL = "model"
RING = RingName("ring", 0, 8, WIDTH * HEIGHT * 3)


def received(seq: int, *, analysed: bool = True) -> ReceivedFrame:
    moment = seq * INTERVAL_MS * 1_000_000
    descriptor = FrameDescriptor(
        source="main",
        seq=seq,
        ring=RING,
        width=WIDTH,
        height=HEIGHT,
        pts_ns=moment,
        t_capture_ns=moment,
        t_capture_unix_ns=moment,
        analysed=analysed,
    )
    return ReceivedFrame(descriptor, np.zeros((1, 1, 3), np.uint8), moment)


def detection(number: int | None, class_id: int = 0, left: float = 0.0) -> Detection:
    box = (left, 10.0, left + SIDE, 10.0 + SIDE)
    return Detection(xyxy=box, confidence=0.9, class_id=class_id, class_name=f"class {class_id}", tracker_id=number)


def boxes(seq: int, *detections: Detection, keyframe: bool = True) -> Boxes:
    return Boxes(
        source="main",
        seq=seq,
        detections=detections,
        keyframe=keyframe and bool(detections),
        t_detected_ns=seq * INTERVAL_MS * 1_000_000,
        overrun=0,
        segment_replaced=0,
    )


def drawn(item: Detection) -> Mask:
    """A mask whose shape identifies its object: one row per track number, one column per class."""
    left, top = int(item.xyxy[0]) + 5, int(item.xyxy[1]) + 5
    return Mask(left, top, np.ones((item.tracker_id or 20, item.class_id + 1), np.bool_))


def masks(seq: int, *detections: Detection, empty: bool = False) -> Masks:
    frame = FrameTime(seq, seq * INTERVAL_MS * 1_000_000)
    made = [
        KeyframeMask(frame, item, None) if empty else KeyframeMask(frame, item, drawn(item), 0.8, 0.7)
        for item in detections
    ]
    return Masks(
        source="main",
        seq=seq,
        pts_ns=frame.pts_ns,
        objects=tuple(map(pack_keyframe_mask, made)),
        t_capture_ns=0,
        t_encoded_ns=0,
        t_decoded_ns=0,
        overrun=0,
    )


@dataclass(frozen=True)
class Film:
    """The messages of capture, detect and segment for each frame of a file."""

    frames: list[ReceivedFrame]
    boxes: list[Boxes]
    masks: list[Masks]


Message = ReceivedFrame | Boxes | Masks


@st.composite
def films(draw: st.DrawFn) -> Film:
    length = draw(st.integers(1, 8))
    interval = draw(st.integers(1, 3))
    classes = draw(st.lists(st.integers(0, 4), min_size=4, max_size=4))
    all_boxes, all_masks = [], []
    for seq in range(length):
        present = draw(st.lists(st.sampled_from([1, 2, 3, 4]), unique=True, max_size=4))
        untracked = draw(st.booleans())
        found = [detection(number, classes[number - 1], 50.0 * number + seq) for number in present]
        found += [detection(None, 1, 5.0)] if untracked else []
        all_boxes.append(boxes(seq, *found, keyframe=seq % interval == 0))
        if all_boxes[-1].keyframe:
            all_masks.append(masks(seq, *found))
    return Film([received(seq) for seq in range(length)], all_boxes, all_masks)


@st.composite
def stories(draw: st.DrawFn) -> tuple[Film, list[Message]]:
    """A film, and its messages in any order, each at least once."""
    film = draw(films())
    messages: list[Message] = [*film.frames, *film.boxes, *film.masks]
    return film, draw(st.permutations(messages + draw(st.lists(st.sampled_from(messages), max_size=12))))


def take_all(join: OrderedJoin | NewestJoin) -> list[JoinedFrame]:
    taken = []
    while (joined := join.take()) is not None:
        taken.append(joined)
    return taken


def add(join: OrderedJoin | NewestJoin, message: Message) -> list[JoinedFrame]:
    """Add a message to a join as publish does, and take what is due."""
    match message:
        case ReceivedFrame(descriptor=descriptor):
            if join.needs(descriptor):
                join.add_frame(message)
        case Boxes():
            join.add_boxes(message)
        case Masks():
            join.add_masks(message)
    return take_all(join)


def ordered(last_seq: int = -1) -> OrderedJoin:
    return OrderedJoin(last_seq)


def newest(max_age_ms: float = 3000.0, last_seq: int = -1) -> NewestJoin:
    return NewestJoin(max_age_ms, last_seq)


def seqs(joined: list[JoinedFrame]) -> list[int]:
    return [item.received.descriptor.seq for item in joined]


@given(stories())
def test_every_frame_of_a_file_is_taken_once_in_order_with_its_own_boxes_and_masks(
    story: tuple[Film, list[Message]],
) -> None:
    film, messages = story
    join = ordered()
    joined = [item for message in messages for item in add(join, message)]
    assert seqs(joined) == list(range(len(film.frames)))
    own_masks = {each.seq: each for each in film.masks}
    for item, own_boxes in zip(joined, film.boxes, strict=True):
        assert item.boxes == own_boxes
        assert item.masks == own_masks.get(own_boxes.seq)
    assert join._slots == {}


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_frame_of_a_file_waits_for_its_boxes_and_its_masks(missing: int) -> None:
    join, found = ordered(), detection(1)
    messages: list[Message] = [received(0), boxes(0, found), masks(0, found)]
    last = messages.pop(missing)
    assert [add(join, message) for message in messages] == [[], []]
    assert seqs(add(join, last)) == [0]


def test_a_frame_that_is_no_keyframe_does_not_wait_for_masks() -> None:
    join = ordered()
    assert add(join, received(0)) == []
    assert seqs(add(join, boxes(0))) == [0]
    add(join, received(1))
    (joined,) = add(join, boxes(1, detection(1), keyframe=False))
    assert joined.masks is None


def test_a_new_process_starts_after_the_frames_that_are_done() -> None:
    join = ordered(last_seq=4)
    assert not join.needs(received(4).descriptor)
    assert add(join, boxes(4)) == []
    assert join.needs(received(5).descriptor)
    add(join, received(5))
    assert not join.needs(received(5).descriptor)
    assert seqs(add(join, boxes(5))) == [5]


def test_a_live_frame_is_taken_as_soon_as_its_boxes_arrive() -> None:
    join = newest()
    assert add(join, received(0)) == []
    (joined,) = add(join, boxes(0, detection(1)))
    assert (seqs([joined]), joined.boxes and joined.boxes.seq) == ([0], 0)


def test_a_live_frame_does_not_wait_longer_than_until_the_next_one() -> None:
    join = newest()
    assert add(join, received(0)) == []
    (joined,) = add(join, received(1))
    assert seqs([joined]) == [0]
    assert joined.boxes is None
    (joined,) = add(join, boxes(1, detection(1)))
    assert seqs([joined]) == [1]
    add(join, received(2))
    (joined,) = add(join, received(3))
    assert (seqs([joined]), joined.boxes and joined.boxes.seq) == ([2], 1)
    join.flush()
    (joined,) = take_all(join)
    assert (seqs([joined]), joined.boxes and joined.boxes.seq) == ([3], 1)
    assert take_all(join) == []


def test_a_live_frame_that_detect_does_not_get_waits_for_nothing() -> None:
    join = newest()
    add(join, received(0))
    add(join, boxes(0, detection(1)))
    (joined,) = add(join, received(1, analysed=False))
    assert (seqs([joined]), joined.boxes and joined.boxes.seq) == ([1], 0)
    assert add(join, received(2)) == []
    assert seqs(add(join, received(3, analysed=False))) == [2, 3]


def test_boxes_of_a_later_frame_end_the_wait_of_a_live_one() -> None:
    join = newest()
    add(join, received(3))
    assert add(join, boxes(2, detection(1))) == []
    (joined,) = add(join, boxes(4, detection(1)))
    assert (seqs([joined]), joined.boxes and joined.boxes.seq) == ([3], 2), "newest boxes that are not of a later frame"
    (joined,) = add(join, received(4))
    assert (seqs([joined]), joined.boxes and joined.boxes.seq) == ([4], 4)


def test_live_frames_that_are_read_late_get_their_own_boxes() -> None:
    join = newest()
    for seq in range(4):
        join.add_boxes(boxes(seq, detection(1)))
    joined = [item for seq in range(1, 4) for item in add(join, received(seq))]
    seqs = [(item.received.descriptor.seq, item.boxes and item.boxes.seq) for item in joined]
    assert seqs == [(1, 1), (2, 2), (3, 3)]


def test_a_published_live_frame_is_not_taken_again() -> None:
    join = newest(last_seq=6)
    assert not join.needs(received(6).descriptor)
    add(join, received(7))
    add(join, boxes(7))
    assert not join.needs(received(7).descriptor)
    assert join.needs(received(8).descriptor)


@given(films(), st.data())
def test_every_live_frame_is_taken_once_with_boxes_and_masks_that_had_arrived(film: Film, data: st.DataObject) -> None:
    join = newest()
    shown: list[JoinedFrame] = []
    late: list[Message] = []
    for seq, frame in enumerate(film.frames):
        # In their order, but at any later time.
        late += [film.boxes[seq], *(each for each in film.masks if each.seq == seq)]
        arrived = data.draw(st.integers(0, len(late)))
        pending, late = [frame, *late[:arrived]], late[arrived:]
        for message in pending:
            shown += add(join, message)
    join.flush()
    shown += take_all(join)
    assert seqs(shown) == list(range(len(film.frames)))
    assert all(
        item.boxes is None or (item.boxes in film.boxes and item.boxes.seq <= item.received.descriptor.seq)
        for item in shown
    )
    assert all(item.masks is None or item.masks in film.masks for item in shown)


def test_stale_boxes_are_not_used() -> None:
    join = newest(2.5 * INTERVAL_MS)
    add(join, received(0))
    add(join, boxes(0, detection(1)))
    add(join, received(1))
    assert [joined.boxes is not None for joined in add(join, received(2))] == [True]
    add(join, received(9))
    assert [joined.boxes is not None for joined in add(join, received(10))] == [False]


def waiting_seq(join: NewestJoin) -> int | None:
    return None if join.waiting is None else join.waiting.descriptor.seq


def test_a_frame_waits_for_its_boxes_only_while_the_newest_boxes_are_not_stale() -> None:
    join = newest(max_age_ms=5 * INTERVAL_MS)
    join.add_frame(received(0))
    assert waiting_seq(join) is None, "no boxes yet"
    join.add_boxes(boxes(0, detection(1)))
    take_all(join)
    join.add_frame(received(1))
    assert waiting_seq(join) == 1
    join.add_frame(received(2))
    assert waiting_seq(join) is None, "another frame is published first"
    take_all(join)
    assert waiting_seq(join) == 2
    join.add_frame(received(9))
    take_all(join)
    assert waiting_seq(join) is None, "the newest boxes are stale"
