from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from support.pipeline_runs import until
from support.stage_context import FakeContext, lane_spec, stage_config, stage_spec

from streamseg.errors import SourceError, StageError
from streamseg.ipc.descriptors import EndOfStream, FrameDescriptor
from streamseg.ipc.ring import DEFAULT_SLOTS
from streamseg.ipc.stage_messages import LaneSpec, Released, Resend, RingCreated, SourceChanged, Start
from streamseg.messages import Dropped, Frame
from streamseg.sources import SourceChange, SourceDamage, SourceInfo, SourceSettings
from streamseg.stages.capture import CaptureStage

WITHIN_S = 10.0


def frame(number: int, height: int = 48, width: int = 64) -> Frame:
    return Frame(np.full((height, width, 3), number, np.uint8), number * 33_000_000, number, number)


class Script:
    """A source that plays frames and changes, skips those before `start`, and fails at the end if it must."""

    info = SourceInfo(description="script", frame_count=7)

    def __init__(self, items: Sequence[Frame | SourceChange | SourceDamage], error: SourceError | None = None) -> None:
        self._items = items
        self._error = error

    def frames(self, start: int, stop: threading.Event) -> Iterator[Frame | SourceChange | SourceDamage]:
        yield from self._items[start:]
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        pass


class Capture:
    """The stage on a script."""

    def __init__(
        self,
        items: Sequence[Frame | SourceChange | SourceDamage],
        mode: str = "every-frame",
        lane: LaneSpec | None = None,
        error: SourceError | None = None,
        **settings: object,
    ) -> None:
        config = stage_config(mode, **settings)
        self.context = FakeContext(stage_spec("capture", lane or lane_spec(), config=config))
        self.opened: list[SourceSettings] = []

        def open_source(settings: SourceSettings, threads: int) -> Script:
            self.opened.append(settings)
            return Script(items, error)

        self.stage = CaptureStage(self.context, open_source)
        self.stage.prepare()
        self.stage.instruct(Start(time.monotonic_ns(), -1))

    def announced(self, link: str = "publish") -> list[int]:
        sent = self.context.sender(link).sent
        return [message.seq for message in sent if isinstance(message, FrameDescriptor)]

    def turn_until_announced(self, count: int) -> None:
        until(lambda: self.stage.turn() is None or len(self.announced()) >= count, WITHIN_S, f"{count} frames")

    def turn_until_end(self) -> EndOfStream:
        sent = self.context.sender("publish").sent
        until(lambda: self.stage.turn() is None or self.ended(), WITHIN_S, "the end")
        return next(message for message in sent if isinstance(message, EndOfStream))

    def ended(self) -> bool:
        return any(isinstance(message, EndOfStream) for message in self.context.sender("publish").sent)

    def turn_idle(self) -> None:
        """Turn for a while, though nothing may come of it."""
        wait = threading.Event()
        for _ in range(20):
            self.stage.turn()
            wait.wait(0.005)


def test_frames_are_announced_to_both_readers_and_lie_in_the_ring() -> None:
    capture = Capture([frame(number) for number in range(5)])
    assert capture.turn_until_end() == EndOfStream(source="main", seq=4, reason="end of source")
    assert capture.announced("detect") == capture.announced("publish") == [0, 1, 2, 3, 4]
    for descriptor in capture.context.sender("detect").sent:
        image = capture.context.frames.read(descriptor.ring, descriptor.seq)
        assert image.shape == (descriptor.height, descriptor.width, 3) == (48, 64, 3)
        assert (image == descriptor.seq).all()
        assert descriptor.source == "main"


def test_detect_gets_so_many_frames_a_second_and_publish_all_or_only_these() -> None:
    second = [frame(number) for number in range(31)]
    capture = Capture(second, "live", fps=10)
    capture.turn_until_end()
    assert capture.announced("detect") == [0, 3, 7, 10, 13, 16, 19, 22, 25, 28]
    assert capture.announced("publish") == list(range(31))
    sent = capture.context.sender("publish").sent
    assert [each.seq for each in sent if isinstance(each, FrameDescriptor) and each.analysed] == capture.announced(
        "detect"
    )
    for mode in ("live", "every-frame"):
        capture = Capture(second[:7], mode, fps=10, analyse="fps")
        assert capture.turn_until_end().seq == 1
        assert capture.announced("detect") == capture.announced("publish") == [0, 1]
        images = [capture.context.frames.read(each.ring, each.seq) for each in capture.context.sender("detect").sent]
        assert [int(image[0, 0, 0]) for image in images] == [0, 3], "the others were left out"


def test_a_file_with_a_rate_is_read_on_after_the_frames_that_were_kept() -> None:
    frames = [frame(number) for number in range(31)]
    capture = Capture(frames, lane=lane_spec(resume_after=1), fps=10, analyse="fps")
    capture.turn_until_announced(2)
    images = [capture.context.frames.read(each.ring, each.seq) for each in capture.context.sender("detect").sent]
    assert [(int(image[0, 0, 0])) for image in images][:2] == [7, 10]
    assert capture.announced()[:2] == [2, 3]


def test_the_shape_of_the_pixels_is_announced() -> None:
    capture = Capture([replace(frame(0), pixel_aspect=(64, 45))])
    capture.turn_until_end()
    (descriptor, *_) = capture.context.sender("publish").sent
    assert isinstance(descriptor, FrameDescriptor)
    assert descriptor.pixel_aspect == (64, 45)


def test_what_a_file_lacks_is_said_and_goes_with_the_end(caplog: pytest.LogCaptureFixture) -> None:
    capture = Capture([frame(0), SourceDamage(missing=50, damaged=0, expected=51)])
    end = capture.turn_until_end()
    assert (end.seq, end.unreadable) == (0, 50)
    assert end.reason == "end of source; about 50 of 51 frames could not be read"
    assert caplog.messages == [
        "synthetic:?size=64x48&frames=5: about 50 of 51 frames could not be read; is the file complete?"
    ]


def test_one_line_says_that_a_recording_has_no_sound(caplog: pytest.LogCaptureFixture) -> None:
    class WithSound(Script):
        info = SourceInfo(description="clip.mp4", sound=True)

    for record, resume_after in (({"video": "out.mp4"}, None), ({}, None), ({"video": "out.mp4"}, 3)):
        spec = stage_spec("capture", lane_spec(resume_after=resume_after), config=stage_config(record=record))
        CaptureStage(FakeContext(spec), lambda settings, threads: WithSound([])).prepare()
    assert caplog.messages == ["clip.mp4 has sound; recordings have none"]


@pytest.mark.parametrize("size", [(8193, 8), (8, 8193)])
def test_a_picture_too_large_to_send_is_refused_before_the_start_and_later(size: tuple[int, int]) -> None:
    class Large(Script):
        info = SourceInfo(description="large", size=size)

    refusal = rf"has pictures of {size[0]}x{size[1]} pixels; a side may have at most 8192: scale it down"
    with pytest.raises(SourceError, match=refusal):
        CaptureStage(FakeContext(stage_spec("capture", lane_spec())), lambda settings, threads: Large([])).prepare()
    capture = Capture([frame(0), frame(1, size[1], size[0])])
    capture.stage.instruct(Released("main", 0))
    with pytest.raises(SourceError, match=refusal):
        capture.turn_until_announced(2)


def test_unacknowledged_frames_of_a_file_are_never_overwritten() -> None:
    capture = Capture([frame(number) for number in range(20)])
    capture.turn_until_announced(DEFAULT_SLOTS - 1)
    capture.turn_idle()
    assert len(capture.announced()) == DEFAULT_SLOTS - 1
    capture.stage.instruct(Released("main", 2))
    capture.turn_until_announced(DEFAULT_SLOTS + 2)
    capture.turn_idle()
    assert len(capture.announced()) == DEFAULT_SLOTS + 2


def test_a_live_source_waits_for_nobody() -> None:
    capture = Capture([frame(number) for number in range(20)], "live")
    assert capture.turn_until_end().seq == 19
    assert capture.announced() == list(range(20))


def test_frames_are_repeated_for_a_new_stage_and_the_end_too() -> None:
    capture = Capture([frame(number) for number in range(5)])
    capture.turn_until_end()
    for link in ("detect", "publish"):
        capture.context.sender(link).take()
    capture.stage.instruct(Resend("main", 2))
    assert capture.announced("detect") == capture.announced("publish") == [3, 4]
    assert capture.ended()


@pytest.mark.parametrize("mode", ["every-frame", "live"])
def test_the_end_replaces_no_frame_that_waits_for_publish(mode: str) -> None:
    capture = Capture([frame(0)], mode)
    end = capture.turn_until_end()
    capture.stage.instruct(Resend("main", 0))
    assert capture.context.sender("publish").kept == [end, end]


def test_a_live_source_repeats_no_frame() -> None:
    capture = Capture([frame(0)], "live")
    capture.turn_until_end()
    capture.context.sender("publish").take()
    capture.stage.instruct(Resend("main", -1))
    assert capture.announced() == []
    assert capture.ended()


def test_frames_of_another_size_wait_for_the_old_ones_and_get_a_new_ring() -> None:
    capture = Capture([frame(0), frame(1), frame(2, 24, 32), frame(3, 24, 32)])
    capture.turn_until_announced(2)
    capture.turn_idle()
    assert capture.announced() == [0, 1]
    capture.stage.instruct(Released("main", 1))
    assert capture.turn_until_end().seq == 3
    rings = [report.ring for report in capture.context.reports if isinstance(report, RingCreated)]
    assert [(ring.epoch, ring.slot_bytes) for ring in rings] == [(0, 48 * 64 * 3), (1, 24 * 32 * 3)]
    assert capture.context.frames.rings[rings[0].name].closed
    capture.context.sender("detect").take()
    capture.stage.instruct(Resend("main", -1))
    assert capture.announced("detect") == [2, 3], "the old ring is gone"


def test_the_frames_of_a_ring_that_is_gone_are_announced_in_a_new_one(caplog: pytest.LogCaptureFixture) -> None:
    capture = Capture([frame(number) for number in range(10)])
    capture.turn_until_announced(DEFAULT_SLOTS - 1)
    capture.stage.instruct(Released("main", 2))
    capture.turn_until_announced(DEFAULT_SLOTS + 2)
    for link in ("detect", "publish"):
        capture.context.sender(link).take()
    capture.context.frames.rings.clear()
    capture.turn_idle()
    for link in ("detect", "publish"):
        sent = [message for message in capture.context.sender(link).sent if isinstance(message, FrameDescriptor)]
        assert [descriptor.seq for descriptor in sent] == [3, 4, 5, 6, 7, 8, 9]
        assert {descriptor.epoch for descriptor in sent} == {1}
        assert all((capture.context.frames.read(each.ring, each.seq) == each.seq).all() for each in sent)
    rings = [report.ring.epoch for report in capture.context.reports if isinstance(report, RingCreated)]
    assert rings == [0, 1]
    (line,) = caplog.messages
    assert "was removed" in line


def test_a_live_source_goes_on_in_a_new_ring() -> None:
    capture = Capture([frame(number) for number in range(20)], "live")
    capture.turn_until_announced(1)
    capture.context.frames.rings.clear()
    capture.turn_until_end()
    sent = [message for message in capture.context.sender("detect").sent if isinstance(message, FrameDescriptor)]
    assert [descriptor.seq for descriptor in sent] == list(range(20)), "no frame is announced again"
    assert (sent[-1].epoch, (capture.context.frames.read(sent[-1].ring, 19) == 19).all()) == (1, True)


def test_a_file_is_read_on_after_what_is_done() -> None:
    lane = lane_spec(resume_after=2)
    capture = Capture([frame(number) for number in range(5)], lane=lane)
    capture.turn_until_end()
    assert capture.announced() == [3, 4]
    assert (capture.context.frames.read(capture.context.sender("detect").sent[0].ring, 3) == 3).all()


@pytest.mark.parametrize(("resume_after", "waits"), [(None, False), (7, True)])
def test_a_camera_that_worked_before_is_waited_for(resume_after: int | None, waits: bool) -> None:
    capture = Capture([frame(0)], "live", lane_spec(resume_after=resume_after, url=0))
    capture.turn_until_end()
    assert [settings.wait for settings in capture.opened] == [waits]


def test_changes_of_the_connection_are_reported() -> None:
    capture = Capture([frame(0), SourceChange("disconnected", "unplugged"), frame(1)], "live")
    capture.turn_until_end()
    assert SourceChanged("main", "disconnected", "unplugged") in capture.context.reports


def test_an_error_of_a_file_waits_until_the_frames_before_it_are_published() -> None:
    capture = Capture([frame(0), frame(1)], error=SourceError("the file is cut"))
    capture.turn_until_announced(2)
    capture.turn_idle()
    capture.stage.instruct(Released("main", 1))
    with pytest.raises(SourceError, match="the file is cut"):
        capture.turn_idle()


def test_an_empty_frame_is_an_error() -> None:
    capture = Capture([Frame(np.zeros((0, 64, 3), np.uint8), 0, 0, 0)])
    with pytest.raises(StageError, match="empty frame"):
        capture.turn_idle()


def test_a_new_capture_process_continues_the_count_that_it_alone_keeps() -> None:
    lane = lane_spec(resume_after=6, dropped=Dropped(detect_replaced=5, publish_replaced=2))
    capture = Capture([frame(number) for number in range(8)], "live", lane)
    capture.turn_until_announced(1)
    first = capture.context.sender("publish").sent[0]
    assert (first.detect_replaced, first.publish_replaced) == (0, 2), "frames were replaced in detect, too"
