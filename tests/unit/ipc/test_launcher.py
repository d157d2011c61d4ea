from __future__ import annotations

import io
import os
import subprocess
import threading
import time

import pytest

from streamseg.ipc import launcher
from streamseg.ipc.control import ControlWriter, Failed, ToSupervisor
from streamseg.ipc.launcher import StageProcess


class Child:
    """A child that has ended; a test writes what the pipe still holds."""

    def __init__(self, *arguments: object, **settings: object) -> None:
        reading, writing = os.pipe()
        self.stdin = io.BytesIO()
        self.stdout = os.fdopen(reading, "rb")
        self.pipe = os.fdopen(writing, "wb")

    def wait(self) -> int:
        return 1


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Child:
    child = Child()
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **settings: child)
    return child


def test_a_stage_is_waited_for_until_its_last_message_is_delivered(child: Child) -> None:
    delivered: list[ToSupervisor | None] = []
    process = StageProcess("painter", 1, delivered.append)
    failed = Failed("RecordingError", "the disk is full")

    def finish() -> None:
        ControlWriter(child.pipe).send(failed)
        child.pipe.close()

    threading.Timer(0.1, finish).start()
    assert process.wait() == 1
    assert delivered == [failed, None]


def test_a_pipe_that_stays_open_delays_the_end_only_for_a_moment(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "_LAST_MESSAGES_S", 0.05)
    process = StageProcess("painter", 1, lambda message: None)
    before = time.monotonic()
    assert process.wait() == 1
    assert time.monotonic() - before < 10
    child.pipe.close()
