from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from msgspec import structs
from support.results import EMPTY_RESULT
from support.stage_context import FakeContext, lane_spec, put_frame, stage_config, stage_spec

from streamseg.errors import OutputError
from streamseg.ipc.descriptors import EndOfStream, FrameDescriptor, FrameResult
from streamseg.ipc.stage_messages import Finished, LaneSpec, Recorded
from streamseg.messages import Detection, ResultMessage, Timings, TrackedObject
from streamseg.stages.base import SUPERVISOR_GONE
from streamseg.stages.record import RecordStage
from streamseg.wire.protocol import encode_result


def result_of(frame: FrameDescriptor) -> ResultMessage:
    found = Detection(xyxy=(1.0, 1.0, 30.0, 30.0), confidence=0.5, class_id=0, class_name="cup")
    return replace(
        EMPTY_RESULT,
        epoch=frame.epoch,
        seq=frame.seq,
        source="main",
        width=frame.width,
        height=frame.height,
        pixel_aspect=frame.pixel_aspect,
        pts_ns=frame.pts_ns,
        timings=Timings(published=20.0),
        boxes_seq=frame.seq,
        objects=(TrackedObject(detection=found),),
    )


class Record:
    """A record stage without a process."""

    def __init__(
        self,
        folder: Path,
        mode: str = "every-frame",
        lane: LaneSpec | None = None,
        context: FakeContext | None = None,
        **settings: object,
    ) -> None:
        self.video, self.lines = folder / "out.mp4", folder / "out.jsonl"
        config = stage_config(mode, record={"video": str(self.video), "jsonl": str(self.lines)}, **settings)
        spec = stage_spec("record", lane or lane_spec(), config=config)
        self.context = FakeContext(spec, *(() if context is None else (context.frames, context.clock)))
        self.stage = RecordStage(self.context)
        self.stage.prepare()

    def hand(self, *seqs: int, replaced: int = 0) -> None:
        """Have publish send results, and record them."""
        for seq in seqs:
            frame = put_frame(self.context, seq)
            self.send(frame, replaced)
            self.stage.turn()

    def send(self, frame: FrameDescriptor, replaced: int = 0) -> None:
        item = FrameResult(frame=frame, parts=encode_result(result_of(frame), "masks").parts, replaced=replaced)
        self.context.receiver("publish").waiting.append(item)

    def end(self, seq: int | None) -> None:
        self.context.receiver("publish").waiting.append(EndOfStream(source="main", seq=seq, reason="end of file"))
        self.stage.turn()

    def kill(self) -> None:
        """End the stage without finishing anything."""
        self.stage.close(SUPERVISOR_GONE)

    def acknowledged(self) -> list[int]:
        return [report.seq for report in self.context.reports if isinstance(report, Recorded)]

    @property
    def finished(self) -> list[int | None]:
        return [report.seq for report in self.context.reports if isinstance(report, Finished)]


def pictures(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def seqs(path: Path) -> list[int]:
    return [int(json.loads(line)["seq"]) for line in path.read_bytes().splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_frame_is_in_both_files_when_it_is_acknowledged(tmp_path: Path) -> None:
    record = Record(tmp_path)
    for seq in range(3):
        record.hand(seq)
        assert record.acknowledged() == list(range(seq + 1))
        assert pictures(record.video) == len(seqs(record.lines)) == seq + 1
    record.end(2)
    assert record.finished == [2]
    assert names(tmp_path) == ["out.jsonl", "out.mp4"]
    assert b"moof" not in record.video.read_bytes()
    assert (pictures(record.video), seqs(record.lines)) == (3, [0, 1, 2])


def test_the_video_shows_the_objects_and_the_record_says_when_they_were_drawn(tmp_path: Path) -> None:
    record = Record(tmp_path)
    frame = put_frame(record.context, 0)
    record.send(frame)
    record.context.clock.advance(40)
    record.stage.turn()
    record.kill()
    with av.open(str(record.video)) as container:
        (picture,) = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert picture.std() > 5, "the frame itself is grey"
    timings = json.loads(record.lines.read_bytes())["timings"]
    assert timings == {"published": 20.0, "rendered": 40.0}


def test_the_settings_say_what_the_video_shows(tmp_path: Path) -> None:
    record = Record(tmp_path, render={"boxes": False, "labels": False, "status": False})
    record.hand(0)
    record.end(0)
    with av.open(str(record.video)) as container:
        (picture,) = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert np.ptp(picture.astype(int)) <= 4, "the frame is grey, and nothing is drawn on it"


def test_the_video_and_its_parts_keep_the_shape_of_the_pixels(tmp_path: Path) -> None:
    first = Record(tmp_path)
    first.send(structs.replace(put_frame(first.context, 0), pixel_aspect=(64, 45)))
    first.stage.turn()
    first.kill()
    second = Record(tmp_path, lane=lane_spec(resume_after=0, highest_acknowledged=0), context=first.context)
    second.send(structs.replace(put_frame(first.context, 1), pixel_aspect=(64, 45)))
    second.stage.turn()
    second.end(1)
    assert pictures(second.video) == 2
    with av.open(str(second.video)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(64, 45)
    assert [json.loads(line)["pixel_aspect"] for line in second.lines.read_bytes().splitlines()] == [[64, 45]] * 2


def test_a_new_process_begins_a_part_and_the_end_joins_them(tmp_path: Path) -> None:
    first = Record(tmp_path)
    first.hand(0, 1, 2)
    first.kill()
    second = Record(tmp_path, lane=lane_spec(resume_after=1, highest_acknowledged=1), context=first.context)
    second.hand(2, 3)
    assert names(tmp_path) == ["out.jsonl", "out.mp4", "out.part-2.jsonl", "out.part-2.mp4"]
    second.end(3)
    assert names(tmp_path) == ["out.jsonl", "out.mp4"]
    assert (pictures(second.video), seqs(second.lines)) == (4, [0, 1, 2, 3])


IO_COUNTS = Path("/proc/self/io")
LONG_BYTES = 20_000_000
"""About an hour of a still picture."""


def bytes_read() -> int:
    """Bytes that this process has read from files and pipes."""
    return int(IO_COUNTS.read_text().split("rchar: ")[1].split()[0])


@pytest.mark.skipif(not IO_COUNTS.exists(), reason="needs the counts of Linux")
def test_a_restart_costs_the_same_however_long_the_recording_is(tmp_path: Path) -> None:
    first = Record(tmp_path)
    first.hand(0)
    sizes = first.video.stat().st_size, first.lines.stat().st_size
    first.hand(1)
    first.kill()
    for path, size in zip((first.video, first.lines), sizes, strict=True):
        with path.open("r+b") as file:
            file.seek(size)
            frame = file.read()
            file.write(frame * (LONG_BYTES // len(frame)))
    before = bytes_read()
    second = Record(tmp_path, lane=lane_spec(resume_after=1, highest_acknowledged=1), context=first.context)
    second.hand(2)
    assert second.acknowledged() == [2]
    assert bytes_read() - before < LONG_BYTES / 10
    second.kill()


def test_what_was_recorded_before_is_acknowledged_again_and_not_written_again(tmp_path: Path) -> None:
    first = Record(tmp_path)
    first.hand(0, 1, 2)
    first.kill()
    record = Record(tmp_path, lane=lane_spec(resume_after=0, highest_acknowledged=2))
    record.hand(1, 2, 3)
    assert record.acknowledged() == [1, 2, 3]
    record.end(3)
    assert seqs(record.lines) == [0, 1, 2, 3]


def test_a_result_that_comes_before_those_that_are_repeated_waits_for_its_own_repetition(tmp_path: Path) -> None:
    record = Record(tmp_path, lane=lane_spec(resume_after=None))
    record.hand(2)
    record.end(2)
    assert (record.acknowledged(), record.finished) == ([], [])
    record.hand(0, 1, 2)
    record.end(2)
    assert (record.acknowledged(), record.finished) == ([0, 1, 2], [2])


def test_a_frame_whose_ring_is_gone_is_recorded_when_it_is_repeated(tmp_path: Path) -> None:
    record = Record(tmp_path)
    frame = put_frame(record.context, 0)
    record.context.frames.rings.clear()
    record.send(frame)
    record.stage.turn()
    assert record.acknowledged() == []
    record.hand(0)
    assert record.acknowledged() == [0]
    record.kill()


def test_live_frames_that_are_missed_are_counted_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = Record(tmp_path, "live")
    record.hand(0)
    gone = put_frame(record.context, 3)
    record.context.frames.rings.clear()
    record.send(gone, replaced=2)
    record.stage.turn()
    record.hand(4, replaced=2)
    reports = [report for report in record.context.reports if isinstance(report, Recorded)]
    assert [(report.seq, report.record_replaced, report.record_overrun) for report in reports] == [
        (0, 0, 0),
        (3, 2, 1),
        (4, 2, 1),
    ]
    record.end(4)
    assert record.finished == [4]
    assert seqs(record.lines) == [0, 4]
    assert pictures(record.video) == 2
    (line,) = caplog.messages
    assert line.startswith("3 frames are missing in the recording")


def test_a_recording_that_has_not_begun_is_never_joined_with_an_older_file(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"of an earlier run")
    record = Record(tmp_path, "live")
    gone = put_frame(record.context, 0)
    record.context.frames.rings.clear()
    record.send(gone)
    record.stage.turn()
    assert record.acknowledged() == []
    record.hand(1)
    assert record.acknowledged() == [1]
    record.end(1)
    assert names(tmp_path) == ["out.jsonl", "out.mp4"]
    assert pictures(record.video) == 1


def test_at_the_end_of_a_live_run_the_results_on_their_way_are_recorded(tmp_path: Path) -> None:
    record = Record(tmp_path, "live")
    record.hand(0)
    for seq in (1, 2):
        record.send(put_frame(record.context, seq))
    record.context.receiver("publish").waiting.append(EndOfStream(source="main", seq=2, reason="interrupted"))
    record.stage.close("interrupted")
    assert seqs(record.lines) == [0, 1, 2]
    assert b"moof" not in record.video.read_bytes()


def test_a_recorder_whose_publisher_is_gone_waits_only_a_moment(tmp_path: Path) -> None:
    record = Record(tmp_path, "live")
    record.hand(0)
    before = record.context.clock.now_ns()
    record.stage.close("interrupted")
    assert record.context.clock.now_ns() - before < 1.5e9
    assert b"moof" not in record.video.read_bytes()


def test_without_a_supervisor_the_parts_stay_as_they_are(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.hand(0, 1)
    record.kill()
    assert b"moof" in record.video.read_bytes()
    assert pictures(record.video) == 2


def test_a_run_without_frames_leaves_no_file_and_an_old_one_alone(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"of an earlier run")
    record = Record(tmp_path)
    record.end(None)
    assert record.finished == [None]
    assert (tmp_path / "out.mp4").read_bytes() == b"of an earlier run"


@pytest.mark.parametrize("name", ["out.mp4", "out.jsonl"])
@pytest.mark.parametrize("last", [False, True])
def test_a_file_deleted_while_it_is_recorded_is_an_error(tmp_path: Path, name: str, last: bool) -> None:
    record = Record(tmp_path)
    record.hand(0)
    (tmp_path / name).unlink()
    with pytest.raises(OutputError, match=f"{name} was deleted or renamed"):
        if last:
            record.end(0)
        else:
            record.hand(1)
    record.kill()
    assert record.acknowledged() == [0]
    assert names(tmp_path) == [other for other in ("out.jsonl", "out.mp4") if other != name]


@pytest.mark.parametrize(
    ("name", "last"),
    [("out.mp4", False), ("out.jsonl", False), ("out.mp4", True), ("out.part-2.mp4", True), ("out.part-2.jsonl", True)],
)
def test_a_part_deleted_while_the_run_records_is_an_error(tmp_path: Path, name: str, last: bool) -> None:
    context = None
    for seq in (0, 1):
        lane = lane_spec() if context is None else lane_spec(resume_after=seq - 1, highest_acknowledged=seq - 1)
        part = Record(tmp_path, lane=lane, context=context)
        part.hand(seq)
        part.kill()
        context = part.context
    record = Record(tmp_path, lane=lane_spec(resume_after=1, highest_acknowledged=1), context=context)
    if last:
        record.hand(2)
    (tmp_path / name).unlink()
    with pytest.raises(OutputError, match=f"{name} was deleted or renamed"):
        if last:
            record.end(2)
        else:
            record.hand(2)
    record.kill()


def test_a_file_that_something_else_replaced_is_not_written_on(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.hand(0)
    record.lines.rename(tmp_path / "moved.jsonl")
    record.lines.write_text("of somebody else")
    with pytest.raises(OutputError, match="deleted or renamed"):
        record.hand(1)
    record.kill()
    assert record.lines.read_text() == "of somebody else"
    assert seqs(tmp_path / "moved.jsonl") == [0]


def test_a_run_of_its_own_does_not_continue_the_parts_of_an_earlier_one(tmp_path: Path) -> None:
    for name in ("out.mp4", "out.part-2.mp4", "out.part-3.jsonl"):
        (tmp_path / name).write_bytes(b"of an earlier run")
    record = Record(tmp_path)
    record.hand(0)
    record.end(0)
    assert names(tmp_path) == ["out.jsonl", "out.mp4"]
    assert pictures(record.video) == 1
