from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from msgspec import structs
from support.moving_scenes import Pose, Shown, detection, film, sprite
from support.pipeline_runs import until
from support.stage_context import FakeClock, FakeContext, lane_spec, link_to, put_frame, stage_config, stage_spec

from streamseg.ipc.descriptors import Boxes, EndOfStream, FrameDescriptor, FrameResult, Masks
from streamseg.ipc.stage_messages import Acknowledge, Announce, Finished, LaneSpec, Published
from streamseg.messages import (
    MOVED,
    PROPAGATED,
    Detection,
    Dropped,
    End,
    Heartbeat,
    Image,
    Message,
    ObjectMask,
    ResultMessage,
    SourceState,
)
from streamseg.propagate.batch import observe
from streamseg.propagate.keyframe_mask import FrameTime, make_keyframe_masks
from streamseg.propagate.track import Observation, Track
from streamseg.sinks.network import MaskSink, Network
from streamseg.sinks.sink import Pictures, PublishedResult
from streamseg.stages.packing import pack_keyframe_mask
from streamseg.stages.publish import PublishStage
from streamseg.wire.protocol import decode


class Publish:
    """A publish stage without a process, and what goes in and out of it."""

    def __init__(
        self,
        *receivers: str,
        mode: str = "every-frame",
        lane: LaneSpec | None = None,
        before: FakeContext | None = None,
        render: dict[str, object] | None = None,
        clock: FakeClock | None = None,
        segmenter: dict[str, object] | None = None,
        **publish: object,
    ) -> None:
        settings: dict[str, object] = {"publish": publish, "render": render or {}}
        if segmenter is not None:
            settings["segmenter"] = segmenter
        config = stage_config(mode, **settings)
        links = [link_to("publish", receiver) for receiver in receivers]
        self.context = FakeContext(stage_spec("publish", lane or lane_spec(), config=config, links=links), clock=clock)
        if before is not None:  # the process that takes over
            self.context._snapshots = before._snapshots
        self.stage = PublishStage(self.context)
        self.stage.prepare()

    def announce(self, seq: int, detect_replaced: int = 0) -> FrameDescriptor:
        """Have capture announce a frame."""
        frame = put_frame(self.context, seq)
        frame = structs.replace(frame, pixel_aspect=(64, 45), detect_replaced=detect_replaced)
        self.context.receiver("capture").waiting.append(frame)
        return frame

    def detect(self, seq: int, *tracks: int, overrun: int = 0, segment_replaced: int = 0, replaced: int = 0) -> None:
        """Have detect find these tracks, or else one object without a track."""
        found = [
            Detection(xyxy=(1.0, 1.0, 9.0, 9.0), confidence=0.5, class_id=0, class_name="cup", tracker_id=track)
            for track in tracks or (None,)
        ]
        now = self.context.clock.now_ns()
        self.context.receiver("detect").waiting.append(
            Boxes(
                source="main",
                seq=seq,
                detections=tuple(found),
                keyframe=False,
                t_detected_ns=now,
                overrun=overrun,
                segment_replaced=segment_replaced,
                replaced=replaced,
            )
        )

    def segment(self, seq: int, took_ms: int) -> None:
        """Have segment finish a keyframe without objects so long after its capture."""
        now = self.context.clock.now_ns()
        self.context.receiver("segment").waiting.append(
            Masks(
                source="main",
                seq=seq,
                pts_ns=0,
                objects=(),
                t_capture_ns=now - took_ms * 1_000_000,
                t_encoded_ns=now,
                t_decoded_ns=now,
                overrun=0,
            )
        )

    def end(self, seq: int | None) -> None:
        """Have capture announce the end."""
        self.context.receiver("capture").waiting.append(EndOfStream(source="main", seq=seq, reason="end of file"))

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.stage.turn()

    def publish(self, *seqs: int, overrun: int = 0, segment_replaced: int = 0) -> None:
        for seq in seqs:
            self.announce(seq)
            self.detect(seq, overrun=overrun, segment_replaced=segment_replaced)
            self.turn()

    def dropped(self) -> list[Dropped]:
        """What each published frame reported as lost."""
        return [report.dropped for report in self.context.reports if isinstance(report, Published)]

    def recorded(self) -> list[int | str]:
        """What the recorder got since the last call: sequence numbers, and the reason of the end."""
        messages = self.context.sender("record").take()
        return [item.frame.seq if isinstance(item, FrameResult) else item.reason for item in messages]

    def reports(self, kind: type[Published] | type[Acknowledge]) -> list[int]:
        return [report.seq for report in self.context.reports if isinstance(report, kind)]

    @property
    def finished(self) -> bool:
        return any(isinstance(report, Finished) for report in self.context.reports)


class Drawing:
    """A sink that keeps the drawn pictures."""

    def __init__(self, drawn: list[Image]) -> None:
        self._drawn = drawn

    def wants(self) -> bool:
        return True

    def write(self, result: PublishedResult, pictures: Pictures) -> None:
        assert pictures.clean is not None
        self._drawn.append(pictures.draw(pictures.clean).image)

    def close(self, end: End) -> None:
        pass


def crowd(publish: Publish, seq: int, shown: Shown) -> None:
    """Have frame `seq` announced and detected, and segmented if it is the first."""
    frame = put_frame(publish.context, seq, shown.image)
    found = [detection(mask, number) for number, mask in enumerate(shown.masks, 1) if mask is not None]
    publish.context.receiver("capture").waiting.append(frame)
    publish.context.receiver("detect").waiting.append(
        Boxes(
            source="main",
            seq=seq,
            detections=tuple(found),
            keyframe=seq == 0,
            t_detected_ns=publish.context.clock.now_ns(),
            overrun=0,
            segment_replaced=0,
        )
    )
    if seq == 0:
        results = [ObjectMask(mask, 0.9, 0.8) for mask in shown.masks]
        made = make_keyframe_masks(FrameTime(0, frame.pts_ns), shown.image, found, results)
        objects = tuple(map(pack_keyframe_mask, made))
        publish.context.receiver("segment").waiting.append(
            Masks(
                source="main",
                seq=0,
                pts_ns=frame.pts_ns,
                objects=objects,
                t_capture_ns=0,
                t_encoded_ns=0,
                t_decoded_ns=0,
                overrun=0,
            )
        )


def side_by_side(index: int, frame: int) -> Pose:
    """24 objects that never touch; all move."""
    return 40 + 75 * (index % 6) + frame, 50 + 85 * (index // 6), 1, 0


@pytest.fixture
def closing() -> Iterator[list[Publish]]:
    made: list[Publish] = []
    yield made
    for publish in made:
        publish.context.close()


def test_each_result_goes_to_the_recorder_with_the_place_of_its_pixels(closing: list[Publish]) -> None:
    publish = Publish("record")
    closing.append(publish)
    frame = publish.announce(0)
    publish.turn()
    assert publish.recorded() == [], "its boxes are missing"
    publish.detect(0)
    publish.turn()
    (item,) = publish.context.sender("record").sent
    assert item.frame == frame
    result = decode(item.parts)
    assert isinstance(result, ResultMessage)
    assert (result.seq, [item.detection.class_name for item in result.objects]) == (0, ["cup"])
    assert result.pixel_aspect == (64, 45)
    assert publish.reports(Published) == [0]


@pytest.mark.parametrize("mode", ["every-frame", "live"])
@pytest.mark.parametrize("set_s", [-86_400, 5, 86_400])
def test_a_wall_clock_that_is_set_changes_nothing_but_its_own_times(
    closing: list[Publish], monkeypatch: pytest.MonkeyPatch, mode: str, set_s: int
) -> None:
    def publish(set_s: int) -> tuple[list[ResultMessage], list[Heartbeat]]:
        heartbeats: list[Heartbeat] = []
        stage = Publish("record", mode=mode)
        closing.append(stage)
        monkeypatch.setattr(stage.stage._network, "send_heartbeat", heartbeats.append)
        for seq in range(60):
            stage.announce(seq)
            stage.context.clock.advance(10)
            stage.context.clock.set_ns = set_s * 1_000_000_000 if seq >= 20 else 0
            stage.detect(seq, 1)
            stage.turn()
            stage.context.clock.advance(40)
        results = [decode(item.parts) for item in stage.context.sender("record").take()]
        return [
            replace(result, t_capture_unix_ns=0) for result in results if isinstance(result, ResultMessage)
        ], heartbeats

    expected, regular = publish(0)
    results, heartbeats = publish(set_s)
    assert len(expected) == 60
    assert results == expected
    assert len(regular) > 2
    assert [beat.seq for beat in heartbeats] == [beat.seq for beat in regular]
    assert heartbeats[-1].t_unix_ns - regular[-1].t_unix_ns == set_s * 1_000_000_000


def test_the_end_tells_how_much_of_the_file_could_not_be_read(
    closing: list[Publish], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Publish()
    closing.append(publish)
    ends: list[End] = []
    monkeypatch.setattr(MaskSink, "close", lambda self, end: ends.append(end))
    publish.publish(0)
    end = EndOfStream(source="main", seq=0, reason="end of file", unreadable=7)
    publish.context.receiver("capture").waiting.append(end)
    publish.turn()
    assert [(end.reason, end.unreadable) for end in ends] == [("end of file", 7)]


def test_a_run_without_a_recorder_finishes_with_the_last_result(closing: list[Publish]) -> None:
    publish = Publish()
    closing.append(publish)
    publish.publish(0, 1)
    publish.end(2)
    publish.turn(2)
    assert not publish.finished
    publish.publish(2)
    publish.turn()
    assert publish.finished


def test_a_recorder_gets_the_end_after_the_last_result_and_finishes_the_run_itself(closing: list[Publish]) -> None:
    publish = Publish("record")
    closing.append(publish)
    publish.publish(0, 1)
    publish.end(1)
    publish.turn()
    assert publish.recorded() == [0, 1, "end of file"]
    assert not publish.finished


def test_subscribers_get_the_end_before_a_slow_recorder_does(
    closing: list[Publish], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Publish("record", mode="live")
    closing.append(publish)
    recorder = publish.context.sender("record")
    recorder.credit = False
    sent: list[str] = []
    monkeypatch.setattr(Network, "send_end", lambda self, end: sent.append(end.reason))
    monkeypatch.setattr(publish.context.clock, "sleep", lambda seconds: sent.append("wait"))
    publish.stage.close("interrupted")
    assert (sent[0], sent[-1]) == ("interrupted", "wait")


def test_a_new_recorder_gets_the_results_and_the_end_again_when_capture_repeats_them(closing: list[Publish]) -> None:
    publish = Publish("record")
    closing.append(publish)
    publish.publish(*range(4))
    publish.end(3)
    publish.turn()
    publish.recorded()
    for seq in (2, 3):
        publish.announce(seq)
    publish.end(3)
    publish.turn(3)
    assert publish.recorded() == [2, 3, "end of file"]
    assert publish.reports(Published) == [0, 1, 2, 3], "nobody else gets them again"


@pytest.mark.parametrize("published_before", [True, False], ids=["published", "waits for its boxes"])
def test_the_recorder_finds_a_repeated_frame_in_the_ring_of_the_new_capture_process(
    closing: list[Publish], published_before: bool
) -> None:
    publish = Publish("record")
    closing.append(publish)
    publish.publish(0)
    publish.announce(1)
    if published_before:
        publish.detect(1)
    publish.turn()
    publish.recorded()
    publish.context.frames.rings.clear()
    frame = put_frame(publish.context, 1)
    ring = publish.context.frames.create("streamseg-test-main", 7, 48, 64)
    ring.write(1, np.zeros((48, 64, 3), np.uint8))
    moved = msgspec.structs.replace(frame, ring=ring.ring)
    publish.context.receiver("capture").waiting.append(moved)
    publish.turn()
    if not published_before:
        publish.detect(1)
        publish.turn()
    (item,) = publish.context.sender("record").take()
    assert item.frame.ring.epoch == 7


def test_what_a_killed_process_published_but_nobody_recorded_goes_to_the_recorder_alone(
    closing: list[Publish],
) -> None:
    publish = Publish("record", lane=lane_spec(resume_after=3, highest_acknowledged=5))
    closing.append(publish)
    publish.publish(4, 5, 6)
    assert publish.recorded() == [4, 5, 6]
    assert publish.reports(Acknowledge) == [4, 5]
    assert publish.reports(Published) == [6]


def test_without_a_recorder_nothing_is_published_twice(closing: list[Publish]) -> None:
    publish = Publish(lane=lane_spec(resume_after=3, highest_acknowledged=5))
    closing.append(publish)
    publish.publish(4, 5, 6)
    assert publish.reports(Acknowledge) == [4, 5]
    assert publish.reports(Published) == [6]


def test_a_loop_over_a_file_confirms_each_result_with_its_credit(
    closing: list[Publish], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Publish("pipeline")
    closing.append(publish)
    tap = publish.context.sender("pipeline")

    def use_credit(payload: object) -> None:
        tap.sent.append(payload)
        tap.credit = False

    monkeypatch.setattr(tap, "send", use_credit)
    publish.publish(0, 1)
    assert len(tap.take()) == 1
    assert publish.reports(Published) == []
    tap.credit = True
    publish.turn()
    assert len(tap.take()) == 1
    assert publish.reports(Published) == [0]


def test_a_track_has_the_same_colour_in_every_result_also_of_a_publish_process_that_takes_over(
    closing: list[Publish],
) -> None:
    def colours(publish: Publish, seq: int, *tracks: int) -> list[str | None]:
        publish.announce(seq)
        publish.detect(seq, *tracks)
        publish.turn()
        result = decode(publish.context.sender("record").take()[-1].parts)
        assert isinstance(result, ResultMessage)
        return [item.colour for item in result.objects]

    first = Publish("record")
    closing.append(first)
    one, two = colours(first, 0, 11, 12)
    assert None not in (one, two) and one != two
    assert colours(first, 1, 12, 11) == [two, one]
    assert first.context.snapshot(lane_spec()).saves == 1, "nothing new"
    (three,) = colours(first, 2, 13)
    second = Publish("record", lane=lane_spec(resume_after=2, highest_acknowledged=2), before=first.context)
    closing.append(second)
    assert colours(second, 3, 13, 12, 11) == [three, two, one]


def test_each_live_result_says_what_is_wrong_with_the_models(closing: list[Publish]) -> None:
    publish = Publish("record", mode="live")
    closing.append(publish)

    def notice(seq: int) -> str | None:
        publish.announce(seq)
        publish.detect(seq)
        publish.turn()
        result = decode(publish.context.sender("record").take()[-1].parts)
        assert isinstance(result, ResultMessage)
        return result.models.notice

    assert notice(0) is None
    publish.stage.instruct(Announce("main", "detect", "restarting", "hung"))
    assert notice(1) == "detect: restarting"
    for seq in range(3):
        publish.segment(seq, took_ms=2000)
    full = "the CPU is full: keyframes 0.5/s; try fewer programs on this machine"
    assert notice(2) == f"detect: restarting; {full}"
    publish.stage.instruct(Announce("main", "detect", "running", ""))
    publish.stage.instruct(Announce("main", "capture", "disconnected", "no picture"))
    assert notice(3) == full
    suggestions = [report.suggestion for report in publish.context.reports if isinstance(report, Published)]
    assert suggestions == [None, None, full, full]


def test_the_results_of_a_file_do_not_depend_on_how_fast_they_were_made(closing: list[Publish]) -> None:
    publish = Publish("record")
    closing.append(publish)
    for seq in range(3):
        publish.segment(seq, took_ms=2000)
    publish.stage.instruct(Announce("main", "detect", "restarting", "hung"))
    publish.publish(0, 1)
    for item in publish.context.sender("record").take():
        result = decode(item.parts)
        assert isinstance(result, ResultMessage)
        assert result.models.notice is None


def test_the_overlay_shows_what_the_settings_say(closing: list[Publish]) -> None:
    publish = Publish("record", render={"boxes": False, "labels": False, "status": False})
    closing.append(publish)
    drawn: list[Image] = []
    publish.stage._sinks.append(Drawing(drawn))
    publish.publish(0)
    assert (drawn[0] == 100).all()


def test_pixels_are_not_read_while_no_sink_wants_them(closing: list[Publish]) -> None:
    publish = Publish("record")
    closing.append(publish)
    publish.announce(0)
    publish.context.frames.rings.clear()
    publish.detect(0)
    publish.turn()
    assert publish.recorded() == [0]


def test_a_live_recorder_gets_the_last_result_before_the_end(closing: list[Publish]) -> None:
    publish = Publish("record", mode="live")
    closing.append(publish)
    publish.announce(0)
    publish.turn()
    publish.stage.close("interrupted")
    assert publish.recorded() == [0, "interrupted"]


def test_a_live_recorder_that_is_stuck_does_not_delay_the_end(closing: list[Publish]) -> None:
    publish = Publish("record", mode="live")
    closing.append(publish)
    publish.context.sender("record").credit = False
    before = publish.context.clock.now_ns()
    publish.stage.close("interrupted")
    assert publish.recorded() == ["interrupted"]
    assert publish.context.clock.now_ns() - before < 0.5e9


def test_nothing_follows_the_end_while_the_recorder_finishes_its_files(
    closing: list[Publish], monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Message] = []
    monkeypatch.setattr(Network, "_send", lambda network, parts: events.append(decode(parts)))
    publish = Publish("record")
    closing.append(publish)
    publish.publish(0)
    publish.stage.instruct(Announce("main", "detect", "restarting", "hung"))
    publish.end(0)
    publish.turn()
    assert [type(event) for event in events] == [Heartbeat, SourceState, End]
    publish.context.clock.advance(5000)
    publish.turn()
    publish.stage.instruct(Announce("main", "detect", "running", ""))
    assert isinstance(events[-1], End)


def test_what_was_lost_only_rises_also_when_a_stage_restarts(closing: list[Publish]) -> None:
    lost = Dropped(detect_replaced=9, detect_overrun=5, publish_overrun=2, masks_limited=1)
    publish = Publish(lane=lane_spec(resume_after=-1, dropped=lost))
    closing.append(publish)
    publish.publish(0, overrun=7)
    publish.publish(1, overrun=6)  # of a new detect process that knew less
    assert publish.dropped() == [msgspec.structs.replace(lost, detect_overrun=7)] * 2


def test_keyframes_that_were_replaced_count_once_also_when_stages_restart(closing: list[Publish]) -> None:
    publish = Publish(lane=lane_spec(resume_after=3, highest_acknowledged=3, dropped=Dropped(segment_replaced=9)))
    closing.append(publish)
    counts = [5, 7, 1, 1, 2]  # the third is a new detect process's
    for seq, replaced in enumerate(counts, 4):
        publish.publish(seq, segment_replaced=replaced)
    assert [dropped.segment_replaced for dropped in publish.dropped()] == [9, 11, 12, 12, 13]


def test_frames_that_were_replaced_before_detect_and_in_it_are_one_count(closing: list[Publish]) -> None:
    publish = Publish(lane=lane_spec(resume_after=3, highest_acknowledged=3, dropped=Dropped(detect_replaced=9)))
    closing.append(publish)
    counts = [(5, 2), (6, 4), (6, 1), (0, 1), (2, 1)]  # the third is a new detect process's, the fourth a new capture's
    for seq, (before, within) in enumerate(counts, 4):
        publish.announce(seq, detect_replaced=before)
        publish.detect(seq, replaced=within)
        publish.turn()
    assert [dropped.detect_replaced for dropped in publish.dropped()] == [9, 12, 13, 13, 15]


def heartbeats(events: list[Message]) -> list[tuple[int | None, str, str]]:
    return [(event.seq, event.state, event.detail) for event in events if isinstance(event, Heartbeat)]


def test_heartbeats_carry_the_state_of_the_source(closing: list[Publish], monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Message] = []
    monkeypatch.setattr(Network, "_send", lambda network, parts: events.append(decode(parts)))
    publish = Publish()
    closing.append(publish)
    publish.turn()
    publish.publish(0)
    for change in (("capture", "disconnected", "unplugged"), ("detect", "restarting", "hung")):
        publish.context.clock.advance(1000)
        publish.stage.instruct(Announce("main", *change))
        publish.turn()
    assert heartbeats(events) == [
        (None, "starting", ""),
        (0, "disconnected", "unplugged"),
        (0, "disconnected", "unplugged"),
    ]
    events.clear()
    again = Publish(lane=msgspec.structs.replace(lane_spec(), state="disconnected", detail="unplugged"))
    closing.append(again)
    again.turn()
    again.announce(1)
    again.turn()
    again.context.clock.advance(1000)
    again.turn()
    assert heartbeats(events) == [(None, "disconnected", "unplugged")] * 2


class Reader:
    """In place of the hub: a socket that subscribes by hand."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._socket = publish.context.sockets.socket(zmq.XSUB)
        publish.context.watch(self._socket)  # closes it
        self._socket.bind(publish.context.spec.hub)

    def subscribe(self, prefix: bytes) -> None:
        self._socket.send(b"\x01" + prefix)

    def next(self) -> Message:
        """The next message, while the stage turns."""
        until(lambda: self._publish.stage.turn() is None or self._socket.poll(10), 10, "a message")
        return decode(self._socket.recv_multipart())

    def until_end(self) -> list[Message]:
        """The messages up to the end of the source."""
        messages = [self.next()]
        while not isinstance(messages[-1], End):
            messages.append(self.next())
        return messages


def test_a_new_subscriber_gets_a_heartbeat_at_once(closing: list[Publish]) -> None:
    publish = Publish()
    closing.append(publish)
    publish.publish(0, 1)
    reader = Reader(publish)
    for _ in range(2):  # the clock stands still: no other heartbeat is due
        reader.subscribe(b"streamseg/1/")
        heartbeat = reader.next()
        assert isinstance(heartbeat, Heartbeat)
        assert (heartbeat.seq, heartbeat.state) == (1, "running")


def test_subscriptions_without_end_bring_only_some_heartbeats(
    closing: list[Publish], monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Message] = []
    monkeypatch.setattr(Network, "_send", lambda network, parts: events.append(decode(parts)))
    monkeypatch.setattr(Network, "service", lambda network: True)
    publish = Publish()
    closing.append(publish)
    for expected in (16, 32):
        publish.turn(100)
        assert len(heartbeats(events)) == expected
        publish.context.clock.advance(1000)


def test_a_file_waits_for_the_first_view_that_is_requested(closing: list[Publish]) -> None:
    publish = Publish(wait_for_subscriber=True)
    closing.append(publish)
    reader = Reader(publish)
    reader.subscribe(b"streamseg/1/")
    publish.announce(0)
    publish.detect(0)
    publish.end(0)
    assert isinstance(reader.next(), Heartbeat)
    publish.turn(3)
    assert not publish.finished
    assert publish.reports(Published) == []
    reader.subscribe(b"streamseg/1/main/overlay")
    messages = [message for message in reader.until_end() if not isinstance(message, Heartbeat)]
    assert [type(message) for message in messages] == [ResultMessage, ResultMessage, End]
    assert [message.jpeg is not None for message in messages if isinstance(message, ResultMessage)] == [False, True]


@pytest.mark.parametrize(
    ("mode", "cost_ms", "moves"), [("live", 3.0, True), ("live", 0.2, False), ("every-frame", 3.0, False)]
)
def test_live_frames_without_time_for_all_objects_move_the_masks_of_some(
    mode: str, cost_ms: float, moves: bool, closing: list[Publish], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time passes on the clock of the stage as objects are propagated: so long for each."""
    clock = FakeClock()

    def take_time(tracks: Sequence[Track], *arguments: Any) -> list[Observation | None]:
        clock.advance(cost_ms * len(tracks))
        return observe(tracks, *arguments)

    monkeypatch.setattr("streamseg.propagate.propagator.observe", take_time)
    publish = Publish(mode=mode, clock=clock, segmenter={"model": "nano", "keyframe_interval": 1000})
    closing.append(publish)
    shown = film(16, [sprite(seed, 60) for seed in range(24)], side_by_side)
    for seq, frame in enumerate(shown):
        began_ns = clock.now_ns()
        crowd(publish, seq, frame)
        publish.turn(2)
        clock.advance(max(33 - (clock.now_ns() - began_ns) / 1e6, 0))
    reports = [report for report in publish.context.reports if isinstance(report, Published)]
    methods = [Counter(mask.method for mask in report.masks) for report in reports]
    assert [report.seq for report in reports] == list(range(16)) and all(report.objects == 24 for report in reports)
    assert all(sum(counted.values()) == 24 for counted in methods), "every object keeps a mask"
    if moves:
        assert methods[-1] == {MOVED: 18, PROPAGATED: 6}
    else:
        assert all(counted == {PROPAGATED: 24} for counted in methods[-4:])
