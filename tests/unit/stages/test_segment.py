from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest
from support.stage_context import FakeClock, FakeContext, lane_spec, put_frame, stage_config, stage_spec

from streamseg.config import RunSource
from streamseg.ipc.descriptors import Keyframe, Masks
from streamseg.ipc.stage_messages import AddLane, LaneRemoved, Progress, RemoveLane, Resend
from streamseg.masks import Mask
from streamseg.messages import Detection, Dropped, Image, ObjectMask
from streamseg.models.options import Compute, SegmenterSettings
from streamseg.stages.segment import SegmentStage

WARM_UP_MS = 40


class Squares:
    """Takes each box for the mask; a picture and each batch of boxes take their time."""

    name = "squares"

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.encode_ms = self.decode_ms = 0.0
        self.encoded = 0
        self.batches: list[int] = []
        self.exporting: Callable[[int, int], None] | None = None

    def describe(self) -> str:
        return "squares (fast)"

    def encode(self, image: Image) -> Image:
        self.encoded += 1
        self.clock.advance(self.encode_ms)
        if self.exporting is not None:
            for done in range(5):
                self.exporting(done, 4)
        return image

    def decode(self, embedding: Image, detections: Sequence[Detection]) -> list[ObjectMask]:
        self.batches.append(len(detections))
        self.clock.advance(self.decode_ms)
        masks = []
        for left, top, right, bottom in (map(int, detection.xyxy) for detection in detections):
            bits = np.zeros(embedding.shape[:2], np.bool_)
            bits[top:bottom, left:right] = True
            masks.append(ObjectMask(Mask.crop(bits, 0, 0), predicted_iou=0.9))
        return masks


class Segment:
    """The stage, and a way to feed it."""

    def __init__(
        self,
        mode: str = "every-frame",
        sources: Sequence[str] = ("main",),
        dropped: Dropped | None = None,
        **more: object,
    ) -> None:
        lanes = [lane_spec(name, dropped=dropped) for name in sources]
        self.context = FakeContext(stage_spec("segment", *lanes, config=stage_config(mode, **more)))
        self.model = Squares(self.context.clock)
        self.model.encode_ms = WARM_UP_MS
        self.stage = SegmentStage(self.context, self._create)
        self.ready = self.stage.prepare()
        self.model.encode_ms = 0.0
        self.model.batches.clear()
        self.model.encoded = 0
        self.context.reports.clear()
        self.context.progressed = 0

    def _create(self, settings: SegmenterSettings, compute: Compute, exporting: Callable[[int, int], None]) -> Squares:
        self.exporting = exporting
        return self.model

    def feed(self, *keyframes: Keyframe) -> None:
        for keyframe in keyframes:
            self.context.receiver("detect", keyframe.frame.source).waiting.append(keyframe)
        for _ in keyframes:
            self.stage.turn()

    def keyframe(self, seq: int, *detections: Detection, source: str = "main") -> Keyframe:
        return Keyframe(frame=put_frame(self.context, seq, source=source), detections=detections)

    def masks(self, source: str = "main") -> list[Masks]:
        return self.context.sender("publish", source).take()


def cup(track_id: int | None = None, left: float = 5.0) -> Detection:
    return Detection(
        xyxy=(left, 5.0, left + 20, 25.0), confidence=0.9, class_id=0, class_name="cup", tracker_id=track_id
    )


def cups(count: int) -> list[Detection]:
    return [cup(number + 1, left=float(number)) for number in range(count)]


def test_every_object_of_a_keyframe_gets_a_mask() -> None:
    segment = Segment()
    segment.model.encode_ms, segment.model.decode_ms = 700, 50
    began = segment.context.clock.ns
    found = cups(20)
    segment.feed(segment.keyframe(3, *found))
    (masks,) = segment.masks()
    assert (masks.source, masks.seq, masks.detections) == ("main", 3, tuple(found))
    assert segment.model.batches == [8, 8, 4]
    assert (masks.t_encoded_ns - began, masks.t_decoded_ns - began) == (700e6, 850e6)
    assert segment.context.progressed == 3, "the supervisor takes a long keyframe for a hung stage otherwise"
    assert segment.ready.detail == "squares (fast)"


def test_a_repeated_keyframe_gets_the_same_masks_without_another_encoding() -> None:
    segment = Segment()
    keyframe = segment.keyframe(3, cup(1))
    segment.feed(keyframe, keyframe)
    first, second = segment.masks()
    assert first == second
    assert segment.model.encoded == 1
    segment.feed(segment.keyframe(3, cup(1, left=20)))
    assert segment.masks()[0].detections == (cup(1, left=20),)
    assert segment.model.encoded == 2


def test_the_latest_masks_are_repeated_for_a_new_publish_of_their_source() -> None:
    segment = Segment(sources=("door", "yard"))
    for source in ("door", "yard"):
        segment.feed(*(segment.keyframe(seq, cup(1), source=source) for seq in range(10)))
        segment.masks(source)
    segment.stage.instruct(Resend("yard", 3))
    assert [masks.seq for masks in segment.masks("yard")] == list(range(2, 10))
    assert segment.masks("door") == []


def test_sources_take_turns() -> None:
    segment = Segment(sources=("door", "yard"))
    door = [segment.keyframe(seq, cup(1), source="door") for seq in (0, 1)]
    yard = [segment.keyframe(0, cup(1), source="yard")]
    segment.model.decode_ms = 10
    segment.feed(*door, *yard)
    times = {(each.source, each.seq): each.t_decoded_ns for each in segment.masks("door") + segment.masks("yard")}
    assert sorted(times, key=times.__getitem__) == [("door", 0), ("yard", 0), ("door", 1)]
    assert segment.context.wakes == 2, "a keyframe of another source waits"


def test_an_overwritten_keyframe_is_counted() -> None:
    segment = Segment("live")
    gone = segment.keyframe(1, cup(1))
    segment.feed(msgspec.structs.replace(gone, frame=msgspec.structs.replace(gone.frame, seq=9)))
    assert segment.masks() == []
    segment.feed(segment.keyframe(2, cup(1)))
    assert segment.masks()[0].overrun == 1


def test_a_live_keyframe_gets_as_many_masks_as_there_is_time_for() -> None:
    segment = Segment("live")
    segment.model.encode_ms, segment.model.decode_ms = 100, 60
    found = cups(20)
    segment.feed(segment.keyframe(0, *found))
    (masks,) = segment.masks()
    assert masks.detections == tuple(found[:8])
    assert segment.model.batches == [8]
    segment.feed(segment.keyframe(1, *found))
    assert segment.masks()[0].detections[:8] == tuple(found[8:16]), "those without a mask come first"


def test_a_live_scene_that_stands_still_is_not_segmented_again() -> None:
    segment = Segment("live")
    for seq in range(2):
        segment.feed(segment.keyframe(seq, cup(1)))
    assert [masks.seq for masks in segment.masks()] == [0]
    assert segment.model.encoded == 1


@pytest.mark.parametrize("mode", ["every-frame", "live"])
def test_only_a_turn_that_segments_counts_towards_the_time_a_turn_may_take(mode: str) -> None:
    segment = Segment(mode)
    first, again = segment.keyframe(0, cup(1)), segment.keyframe(0 if mode == "every-frame" else 1, cup(1))
    segment.context.receiver("detect").waiting.extend([first, again])
    assert [segment.stage.turn() for _ in range(3)] == [True, False, False]


def test_the_first_picture_of_a_shape_may_take_longer_to_encode() -> None:
    segment = Segment()
    segment.feed(segment.keyframe(0, cup(1)), segment.keyframe(1, cup(1)))
    turns_ns = [report.turn_ns for report in segment.context.reports if isinstance(report, Progress)]
    assert turns_ns == [10_000_000_000, WARM_UP_MS * 1_000_000], "afterwards as long as the first of all"


def test_each_network_exported_for_a_picture_is_progress() -> None:
    segment = Segment()
    segment.model.exporting = segment.exporting
    segment.feed(segment.keyframe(0, cup()))
    assert segment.context.progressed == 5 + 1, "and the decoding"


def test_masks_are_prepared_for_propagation_only_where_there_is_any() -> None:
    every = Segment()
    every.feed(every.keyframe(0, cup(1)))
    assert not every.masks()[0].objects[0].planes
    between = Segment(segmenter={"model": "nano", "keyframe_interval": 4})
    between.feed(between.keyframe(0, cup(1)))
    assert between.masks()[0].objects[0].planes


def test_a_new_segment_process_continues_the_count_of_overwritten_keyframes() -> None:
    segment = Segment(dropped=Dropped(segment_overrun=6))
    segment.feed(segment.keyframe(0, cup()))
    assert [masks.overrun for masks in segment.masks()] == [6]


def test_of_a_live_source_the_newest_keyframe_waits_and_the_others_are_counted() -> None:
    segment = Segment("live")
    segment.feed(*(segment.keyframe(seq, cup(seq + 1)) for seq in range(3)))
    (masks,) = segment.masks()
    assert (masks.seq, masks.replaced) == (2, 2)


def test_sources_are_added_and_removed_while_the_segmenter_runs() -> None:
    segment = Segment(sources=("door",))
    yard = RunSource(url="synthetic:?frames=9", name="yard")
    lane = msgspec.structs.replace(lane_spec("yard"), source=yard)
    config = msgspec.structs.replace(segment.stage.config, sources=(*segment.stage.config.sources, yard))
    segment.stage.instruct(AddLane(lane, (), config))
    segment.feed(segment.keyframe(0, cup(1), source="yard"), segment.keyframe(0, cup(1), source="door"))
    assert [len(segment.masks(name)) for name in ("door", "yard")] == [1, 1]
    segment.stage.instruct(RemoveLane("door"))
    assert segment.context.reports[-1] == LaneRemoved("door")
    assert segment.context.receiver("detect", "door").closed
    assert segment.context.sender("publish", "door").closed
    assert segment.context.frames.forgotten == ["streamseg-test-door"]
    segment.feed(segment.keyframe(1, cup(1), source="yard"), segment.keyframe(1, cup(1), source="door"))
    assert [len(segment.masks(name)) for name in ("door", "yard")] == [0, 1]
