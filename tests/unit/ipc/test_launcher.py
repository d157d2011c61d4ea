from __future__ import annotations

import errno
import io
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from support.open_files import every_descriptor_taken
from support.stage_context import stage_spec

from streamseg.errors import StageError
from streamseg.ipc.fork_server import ForkedProcess, ForkServer
from streamseg.ipc.launcher import ProcessLauncher, StageProcess
from streamseg.ipc.stage_messages import Failed, LogLine, StageMessageWriter, ToSupervisor


class Child(ForkedProcess):
    """A child that has ended; a test writes what the pipe still holds."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        super().__init__(0, io.BytesIO(), os.fdopen(reading, "rb"), status_pipe=-1, kill_server=lambda: None)
        self.pipe = os.fdopen(writing, "wb")
        self.killed = threading.Event()

    def wait(self) -> int:
        return 1

    def send_signal(self, number: int) -> None:
        assert number == signal.SIGKILL
        self.killed.set()


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Child:
    return Child()


@pytest.fixture
def launcher() -> Iterator[ProcessLauncher]:
    with ProcessLauncher([]) as launcher:
        yield launcher


def test_a_stage_is_waited_for_until_its_last_message_is_delivered(child: Child) -> None:
    delivered: list[ToSupervisor | None] = []
    process = StageProcess("painter", child, delivered.append)
    failed = Failed("RecordingError", "the disk is full")

    def finish() -> None:
        StageMessageWriter(child.pipe).send(failed)
        child.pipe.close()

    threading.Timer(0.1, finish).start()
    assert process.wait() == 1
    assert delivered == [failed, None]


def test_a_pipe_that_stays_open_delays_the_end_only_for_a_moment(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamseg.ipc.launcher._LAST_MESSAGES_S", 0.05)
    process = StageProcess("painter", child, lambda message: None)
    before = time.monotonic()
    assert process.wait() == 1
    assert time.monotonic() - before < 10
    child.pipe.close()


def test_a_message_that_cannot_be_sent_ends_the_stage_with_an_error(child: Child) -> None:
    delivered: queue.SimpleQueue[ToSupervisor | None] = queue.SimpleQueue()
    process = StageProcess("painter", child, delivered.put)
    process.send(LogLine(10**30, "no format holds this number"))  # type: ignore[arg-type]
    failure = delivered.get(timeout=20)
    assert isinstance(failure, Failed)
    assert (failure.error, "control of painter" in failure.message) == ("StageError", True)
    assert child.killed.wait(20)
    child.pipe.close()
    assert process.wait() == 1


def test_a_message_that_cannot_be_read_ends_the_stage_with_an_error(child: Child) -> None:
    delivered: list[ToSupervisor | None] = []
    process = StageProcess("painter", child, delivered.append)
    child.pipe.write(b"\x01\x00\x00\x00?")
    child.pipe.close()
    assert process.wait() == 1
    failure, end = delivered
    assert isinstance(failure, Failed) and "control of painter" in failure.message
    assert end is None
    assert child.killed.is_set()


def test_a_machine_without_processes_is_an_error_of_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with (
        ProcessLauncher([]) as launcher,
        pytest.raises(StageError, match=r"^record cannot be started \(Resource temporarily unavailable\); "),
    ):
        launcher.launch("painter", stage_spec("record"), lambda message: None)


def test_stages_start_also_when_every_descriptor_is_taken(launcher: ProcessLauncher) -> None:
    delivered: queue.SimpleQueue[ToSupervisor | None] = queue.SimpleQueue()
    with every_descriptor_taken():
        processes = [launcher.launch("no.such.module", stage_spec("record"), delivered.put) for _ in range(3)]
        assert [process.wait() for process in processes] == [1] * 3
    reported = [delivered.get(timeout=20) for _ in range(6)]
    assert sum(isinstance(each, Failed) and "No module named 'no'" in each.message for each in reported) == 3


@pytest.mark.parametrize("thread", ["send to painter", "listen to painter"])
def test_a_machine_without_threads_is_one_too_and_leaves_no_process(
    launcher: ProcessLauncher, child: Child, monkeypatch: pytest.MonkeyPatch, thread: str
) -> None:
    monkeypatch.setattr(ForkServer, "fork", lambda server, module: child)
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name == thread:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(StageError, match=r"^record cannot be started \(can't start new thread\); "):
        launcher.launch("painter", stage_spec("record"), lambda message: None)
    assert child.killed.is_set()
    assert child.stdin.closed and child.stdout.closed
    child.pipe.close()
