from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from support.published_frames import published

from streamseg.ipc import reports as reports_module
from streamseg.ipc.reports import ReportWriter
from streamseg.ipc.ring import RingName
from streamseg.ipc.stage_messages import Failed, LogLine, Published, RingCreated, ToSupervisor, read_from_stage

COUNT = 5000
"""Reports: many times what a pipe holds."""


class Pipe:
    """A pipe whose reader, the supervisor, may be paused."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.writer = ReportWriter(self.writing)

    def read_all(self) -> list[object]:
        """Continue the supervisor, and end the stage."""
        received: list[object] = []

        def read() -> None:
            with os.fdopen(self.reading, "rb") as stream:
                received.extend(read_from_stage(stream))

        reader = threading.Thread(target=read)
        reader.start()
        self.writer.drain()
        os.close(self.writing)
        reader.join(30)
        assert not reader.is_alive()
        return received


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    yield Pipe()


def test_a_stage_does_not_wait_for_a_paused_supervisor_which_gets_every_report_later(pipe: Pipe) -> None:
    sent = [published(seq=seq) for seq in range(COUNT)]
    for report in sent:
        pipe.writer.send(report)
    assert pipe.read_all() == sent


def test_beyond_a_limit_only_reports_that_matter_are_kept(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports_module, "_MOST_WAITING", 100_000)
    for seq in range(COUNT):
        pipe.writer.send(published(seq=seq))
        pipe.writer.send(LogLine(30, "a line"))
    matter: list[ToSupervisor] = [RingCreated("main", RingName("ring", 1, 8, 64)), Failed("StageError", "full")]
    for report in matter:
        pipe.writer.send(report)
    assert len(pipe.writer._waiting) < 101_000
    received = pipe.read_all()
    assert received[-2:] == matter
    frames = [report.seq for report in received if isinstance(report, Published)]
    assert frames == list(range(len(frames)))
    assert len(frames) < COUNT


def test_flushing_writes_what_waits_once_there_is_room(pipe: Pipe) -> None:
    for seq in range(COUNT):
        pipe.writer.send(published(seq=seq))
    before = len(pipe.writer._waiting)
    os.read(pipe.reading, 65536)
    pipe.writer.flush()
    assert len(pipe.writer._waiting) < before
    os.close(pipe.reading)
    os.close(pipe.writing)


def test_a_stage_whose_supervisor_is_gone_keeps_nothing(pipe: Pipe) -> None:
    for seq in range(COUNT):
        pipe.writer.send(published(seq=seq))
    os.close(pipe.reading)
    with pytest.raises(BrokenPipeError):
        pipe.writer.flush()
    pipe.writer.drain()
    os.close(pipe.writing)
