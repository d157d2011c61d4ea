from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from support.stage_context import FakeContext, lane_spec, put_frame, stage_config, stage_spec

from streamseg.config import DetectorOverrides, RunSource
from streamseg.ipc.descriptors import Boxes, FrameDescriptor, Keyframe
from streamseg.ipc.stage_messages import Acknowledge, AddLane, LaneRemoved, RemoveLane
from streamseg.messages import Detection, Dropped, Image
from streamseg.models.options import Compute, DetectorSettings
from streamseg.stages.detect import DetectStage
from streamseg.stages.tracking import LOW_SHARE


class GreyBoxes:
    """Finds two objects per frame, at places that its grey level gives; none in black.

    They are lower with every frame seen before: a process that takes over must know of those.
    """

    name = "grey"
    classes = ("cup", "plate")

    def __init__(self) -> None:
        self.frames = self.seen = 0

    def detect(self, image: Image) -> list[Detection]:
        self.frames += 1
        self.seen += 1
        grey = float(image[0, 0, 0])
        return [box(grey, 0, self.seen), box(grey + 100, 1, self.seen)] if grey else []

    def state(self) -> bytes:
        return str(self.seen).encode()

    def restore(self, state: bytes) -> None:
        self.seen = int(state)


def box(left: float, class_id: int, seen: int = 0) -> Detection:
    top = 10.0 + 0.1 * seen
    return Detection(
        xyxy=(left, top, left + 40.0, top + 40.0),
        confidence=0.9,
        class_id=class_id,
        class_name=GreyBoxes.classes[class_id],
    )


class Detect:
    """The stage, and a way to feed it."""

    def __init__(self, context: FakeContext) -> None:
        self.context = context
        self.stage = DetectStage(context, self._create)
        self.stage.prepare()

    def _create(self, settings: DetectorSettings, compute: Compute) -> GreyBoxes:
        self.settings = settings
        self.detector = GreyBoxes()
        return self.detector

    def add(self, source: RunSource) -> None:
        """Add a source as the supervisor does."""
        lane = msgspec.structs.replace(lane_spec(source.name), source=source)
        sources = (*self.stage.config.sources, source)
        self.stage.instruct(AddLane(lane, (), msgspec.structs.replace(self.stage.config, sources=sources)))

    def feed(self, *frames: FrameDescriptor) -> None:
        """Send frames all at once; in live mode one by one, as each that waits is replaced by the next."""
        for frame in frames:
            self.context.receiver("capture", frame.source).waiting.append(frame)
            if self.context.spec.live:
                self.turn()
        self.turn()

    def turn(self) -> None:
        """Let the stage turn until it does nothing more."""
        while self.stage.turn():
            pass

    def boxes(self, source: str = "main") -> list[Boxes]:
        return self.context.sender("publish", source).take()

    def keyframes(self, source: str = "main") -> list[Keyframe]:
        return self.context.sender("segment", source).take()


def detect(mode: str = "every-frame", sources: Sequence[str] = ("main",), **more: object) -> Detect:
    lanes = [lane_spec(name) for name in sources]
    return Detect(FakeContext(stage_spec("detect", *lanes, config=stage_config(mode, **more))))


def frames(context: FakeContext, *seqs: int, source: str = "main") -> list[FrameDescriptor]:
    """Frames 33 ms apart, whose grey level, and so whose boxes, move on by 3."""
    made = []
    for seq in seqs:
        context.clock.advance(33)
        made.append(put_frame(context, seq, grey(10 + 3 * seq), source))
    return made


def grey(level: int) -> Image:
    return np.full((48, 64, 3), level, np.uint8)


def ids(boxes: Sequence[Boxes]) -> list[list[int | None]]:
    return [[detection.tracker_id for detection in each.detections] for each in boxes]


def test_every_frame_gets_its_boxes_and_ids_and_is_a_keyframe() -> None:
    stage = detect()
    stage.feed(*frames(stage.context, 0, 1, 2, 3))
    boxes = stage.boxes()
    assert [each.seq for each in boxes] == [0, 1, 2, 3]
    assert ids(boxes)[2:] == [[1, 2]] * 2
    assert [each.detections for each in stage.keyframes()] == [each.detections for each in boxes]
    assert stage.context.reports == [Acknowledge("main", seq) for seq in range(4)]
    assert stage.context.receiver("capture").grants


def test_only_every_so_many_frames_are_keyframes_and_never_one_without_objects() -> None:
    stage = detect(segmenter={"model": "nano", "keyframe_interval": 2})
    context = stage.context
    stage.feed(*frames(context, 0, 1), put_frame(context, 2, grey(0)), *frames(context, 3, 4))
    assert [each.frame.seq for each in stage.keyframes()] == [0, 4]
    assert [each.keyframe for each in stage.boxes()] == [True, False, False, False, True]


def test_frames_out_of_order_are_left_for_later() -> None:
    stage = detect()
    stage.feed(*frames(stage.context, 0, 2))
    assert [each.seq for each in stage.boxes()] == [0]
    stage.feed(*frames(stage.context, 1, 2))
    assert [each.seq for each in stage.boxes()] == [1, 2]


def test_a_repeated_frame_gets_the_same_boxes_without_another_detection() -> None:
    stage = detect()
    stage.feed(*frames(stage.context, 0, 1, 2))
    first, detections = stage.boxes(), stage.detector.frames
    stage.keyframes()
    moved = msgspec.structs.replace(frames(stage.context, 1)[0], t_capture_ns=5)
    stage.feed(moved)
    assert stage.boxes() == [first[1]]
    assert [each.frame for each in stage.keyframes()] == [moved], "the pixels may lie elsewhere now"
    assert stage.detector.frames == detections
    assert stage.context.reports[-1] == Acknowledge("main", 1)


@pytest.mark.parametrize("killed_after", [0, 1, 4, 9])
def test_a_restart_changes_no_result_of_a_file(killed_after: int) -> None:
    undisturbed = detect()
    feed_all(undisturbed, range(12))
    first = detect()
    feed_all(first, range(killed_after))
    sent = first.boxes()
    done = max(-1, killed_after - 4)  # publish was some frames behind
    again = Detect(first.context.restart(lane_spec(resume_after=None if done < 0 else done)))
    feed_all(again, range(done + 1, 12))
    expected = undisturbed.boxes()
    assert [untimed(each) for each in sent] == [untimed(each) for each in expected[:killed_after]]
    assert [untimed(each) for each in again.boxes()] == [untimed(each) for each in expected[done + 1 :]]
    assert again.detector.frames == 12 - killed_after


def feed_all(stage: Detect, seqs: range) -> None:
    for seq in seqs:
        stage.feed(*frames(stage.context, seq))


def untimed(boxes: Boxes) -> Boxes:
    return msgspec.structs.replace(boxes, t_detected_ns=0)


def test_a_live_restart_keeps_ids_and_gives_none_twice() -> None:
    first = detect("live")
    first.feed(*frames(first.context, 0, 1, 2))
    assert ids(first.boxes())[-1] == [1, 2]
    again = Detect(first.context.restart(lane_spec()))
    again.context.clock.advance(100)
    again.feed(*frames(again.context, 3, 4))
    assert ids(again.boxes()) == [[1, 2]] * 2
    again.context.clock.advance(60_000)
    for seq in (5, 6, 7):
        again.context.clock.advance(33)
        again.feed(put_frame(again.context, seq, grey(200)))
    assert ids(again.boxes())[-1] == [3, 4]


def test_live_state_is_kept_once_a_second_and_with_each_new_id() -> None:
    stage = detect("live")
    snapshot = stage.context.snapshot(lane_spec())
    for seq in range(60):
        stage.context.clock.advance(33)
        stage.feed(put_frame(stage.context, seq, grey(10)))
    assert 2 <= snapshot.saves <= 4


def test_a_live_frame_older_than_the_last_is_skipped_and_an_overwritten_one_counted() -> None:
    stage = detect("live")
    old, gone, new = frames(stage.context, 0, 1, 20)
    stage.feed(new, old)
    assert [each.seq for each in stage.boxes()] == [20]
    stage.feed(msgspec.structs.replace(gone, seq=21), *frames(stage.context, 22))
    assert [(each.seq, each.overrun) for each in stage.boxes()] == [(22, 1)]


def test_a_live_keyframe_comes_after_so_many_frames_whatever_their_numbers() -> None:
    stage = detect("live", segmenter={"model": "nano", "keyframe_interval": 5})
    stage.feed(*frames(stage.context, 3, 4, 7, 9, 13))
    assert [each.frame.seq for each in stage.keyframes()] == [3, 9]


def test_without_a_tracker_there_are_no_ids() -> None:
    stage = detect(tracker={"model": "none"})
    stage.feed(*frames(stage.context, 0, 1, 2))
    assert ids(stage.boxes()) == [[None, None]] * 3


def test_the_detector_returns_boxes_of_low_confidence_only_for_a_tracker() -> None:
    assert detect(detector={"model": "motion", "conf": 0.5}).settings.conf == pytest.approx(0.2)
    assert detect(detector={"model": "motion", "conf": 0.5}, tracker={"model": "none"}).settings.conf == 0.5


@pytest.mark.parametrize(("merges", "names"), [(True, ["plate"]), (False, ["cup", "plate"])])
@pytest.mark.parametrize("tracker", ["flow", "none"])
def test_one_object_with_two_classes_is_one_unless_both_are_kept(tracker: str, merges: bool, names: list[str]) -> None:
    stage = detect(detector={"model": "motion", "merge_duplicates": merges}, tracker={"model": tracker})
    surer = msgspec.structs.replace(box(22, 1), confidence=0.95)
    stage.detector.detect = lambda image: [box(20, 0), surer]  # type: ignore[method-assign]
    stage.feed(*frames(stage.context, 0, 1))
    assert [[each.class_name for each in sent.detections] for sent in stage.boxes()] == [names] * 2
    assert [len(sent.detections) for sent in stage.keyframes()] == [len(names)] * 2


def test_sources_take_turns_and_share_nothing_but_the_detector() -> None:
    stage = detect(sources=("door", "yard"))
    door, yard = frames(stage.context, 0, 1, 2, source="door"), frames(stage.context, 0, 1, source="yard")
    stage.feed(*door, *yard)
    order = [report.source for report in stage.context.reports if isinstance(report, Acknowledge)]
    assert order == ["door", "yard", "door", "yard", "door"]
    assert stage.context.wakes >= 3, "a frame of another source waits"
    assert [each.source for each in stage.boxes("door")] == ["door"] * 3
    assert ids(stage.boxes("yard")) == [[None, None]] * 2
    assert [each.frame.source for each in stage.keyframes("yard")] == ["yard"] * 2


def test_of_a_live_source_that_waits_for_its_turn_the_newest_frame_waits_and_the_others_are_counted() -> None:
    stage = detect("live", ("door", "yard"))
    links = {name: stage.context.receiver("capture", name) for name in ("door", "yard")}
    for name in links:
        links[name].waiting.extend(frames(stage.context, 0, source=name))
    stage.stage.turn()
    assert ([each.seq for each in stage.boxes("door")], stage.boxes("yard")) == ([0], [])
    assert links["yard"].grants == 1, "capture may send a newer frame meanwhile"
    links["door"].waiting.extend(frames(stage.context, 1, source="door"))
    links["yard"].waiting.extend(frames(stage.context, 1, 2, source="yard"))
    stage.turn()
    assert [(each.seq, each.replaced) for each in stage.boxes("yard")] == [(2, 2)]
    assert [(each.seq, each.replaced) for each in stage.boxes("door")] == [(1, 0)]


def test_a_new_detect_process_continues_the_count_of_lost_frames() -> None:
    lane = lane_spec(dropped=Dropped(detect_overrun=3))
    stage = Detect(FakeContext(stage_spec("detect", lane, config=stage_config("live"))))
    stage.feed(*frames(stage.context, 0))
    (boxes,) = stage.boxes()
    assert boxes.overrun == 3


def test_a_source_that_is_added_gets_boxes_and_costs_the_others_nothing() -> None:
    stage = detect(sources=("door",))
    stage.feed(*(put_frame(stage.context, seq, source="door") for seq in range(3)))
    loaded = stage.detector
    stage.add(RunSource(url="synthetic:?frames=9", name="yard"))
    stage.feed(put_frame(stage.context, 3, source="door"), put_frame(stage.context, 0, source="yard"))
    assert [[item.tracker_id for item in boxes.detections] for boxes in stage.boxes("door")][-1] == [1, 2]
    assert [boxes.seq for boxes in stage.boxes("yard")] == [0]
    assert stage.detector is not loaded, "a detector with a memory is one for each source"
    assert [lane.name for lane in stage.context.spec.lanes] == ["door", "yard"]


def test_a_detector_that_must_find_more_continues_with_the_memory_of_the_one_before() -> None:
    stage = detect(sources=("door",))
    stage.feed(*(put_frame(stage.context, seq, source="door") for seq in range(3)))
    before = stage.boxes("door")[-1].detections[0].xyxy[1]
    stage.add(RunSource(url="synthetic:?frames=9", name="yard", detector=DetectorOverrides(conf=0.1)))
    assert stage.settings.conf == pytest.approx(0.1 * LOW_SHARE)
    stage.feed(put_frame(stage.context, 3, source="door"))
    assert stage.boxes("door")[-1].detections[0].xyxy[1] == pytest.approx(before + 0.1)


def test_a_source_that_is_removed_leaves_nothing() -> None:
    stage = detect(sources=("door", "yard"))
    receiver = stage.context.receiver("capture", "yard")
    stage.feed(put_frame(stage.context, 0, source="yard"), put_frame(stage.context, 0, source="door"))
    stage.stage.instruct(RemoveLane("yard"))
    assert stage.context.reports[-1] == LaneRemoved("yard")
    assert receiver.closed
    assert all(stage.context.sender(name, "yard").closed for name in ("segment", "publish"))
    assert stage.context.frames.forgotten == ["streamseg-test-yard"]
    assert [lane.name for lane in stage.context.spec.lanes] == ["door"]
    stage.boxes("yard")
    stage.feed(put_frame(stage.context, 1, source="yard"), put_frame(stage.context, 1, source="door"))
    assert stage.boxes("yard") == []
    assert [boxes.seq for boxes in stage.boxes("door")] == [0, 1]
    stage.add(RunSource(url="synthetic:?frames=9", name="yard"))
