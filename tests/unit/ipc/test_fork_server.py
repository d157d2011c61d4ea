"""Processes that a fork server makes. 2 s: each test starts one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from streamseg.ipc.fork_server import ForkedProcess, ForkServer

PROGRAM = """
import os, socket, sys
from streamseg.ipc.fork_server import serve

def run(name):
    match name:
        case "echo":
            print(sys.stdin.readline(), end="", flush=True)
            os._exit(7)
        case "wait":
            sys.stdin.read()
            os._exit(0)
        case "raise":
            raise ValueError("no such thing")
        case "descriptors":
            print(len(os.listdir("/proc/self/fd")), os.getpgrp() == os.getpid(), flush=True)
            os._exit(0)

serve(socket.socket(fileno=int(sys.argv[1])), run)
"""


Fork = Callable[[str], ForkedProcess]


@pytest.fixture
def server_errors(tmp_path: Path) -> Path:
    """Standard error of the server and its forks."""
    return tmp_path / "errors"


@pytest.fixture
def fork(server_errors: Path) -> Iterator[Fork]:
    """Forks a process of `PROGRAM`; all have ended when the test ends."""
    log = f"import os; log = open({str(server_errors)!r}, 'w'); os.dup2(log.fileno(), 2); log.close()"
    server = ForkServer([sys.executable, "-c", log + PROGRAM], dict(os.environ))
    forked = []

    def fork(name: str) -> ForkedProcess:
        forked.append(server.fork(name))
        return forked[-1]

    yield fork
    for process in forked:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()
    server.close()


def test_a_process_has_its_own_streams_and_reports_how_it_ends(fork: Fork) -> None:
    processes = [fork("echo") for _ in range(3)]
    assert [process.poll() for process in processes] == [None] * 3
    for number, process in enumerate(processes):
        process.stdin.write(f"line {number}\n".encode())
        process.stdin.flush()
        assert process.stdout.read() == f"line {number}\n".encode()
        assert process.wait() == process.poll() == 7


def test_a_signal_ends_it_and_is_its_status(fork: Fork) -> None:
    first, second = fork("wait"), fork("wait")
    first.send_signal(signal.SIGTERM)
    assert first.wait() == -signal.SIGTERM
    first.send_signal(signal.SIGTERM)  # it is gone: nothing happens
    assert second.poll() is None
    second.stdin.close()
    assert second.wait() == 0


def test_it_holds_no_descriptor_of_the_server_or_of_other_processes(fork: Fork) -> None:
    seen = []
    for _ in range(2):
        fork("wait")
        process = fork("descriptors")
        seen.append(process.stdout.read())
        process.wait()
    # Its streams, its status pipe, and the folder that it lists.
    assert seen == [b"5 True\n"] * 2  # and keys pressed at the terminal do not reach it


def test_an_error_in_it_ends_it_alone(fork: Fork, server_errors: Path) -> None:
    assert fork("raise").wait() == 1
    assert "ValueError: no such thing" in server_errors.read_text("utf-8")
    assert fork("descriptors").wait() == 0


def test_a_server_that_was_killed_is_replaced_and_what_it_forked_goes_on(fork: Fork) -> None:
    before = fork("wait")
    (killed,) = [child for child in psutil.Process().children() if "serve(socket" in " ".join(child.cmdline())]
    killed.kill()
    assert fork("descriptors").wait() == 0
    assert before.poll() is None
    before.send_signal(signal.SIGKILL)
    assert before.wait() == 255  # nobody knows its status any more


def test_a_server_that_is_stopped_is_replaced_and_delays_no_end(monkeypatch: pytest.MonkeyPatch, fork: Fork) -> None:
    monkeypatch.setattr("streamseg.ipc.fork_server._REPORT_S", 0.1)
    monkeypatch.setattr("streamseg.ipc.fork_server._FORK_S", 0.1)
    first, second = fork("wait"), fork("wait")
    servers = [child for child in psutil.Process().children() if "serve(socket" in " ".join(child.cmdline())]
    servers[0].suspend()
    first.send_signal(signal.SIGKILL)
    assert first.wait() == 255
    assert fork("descriptors").wait() == 0
    (server,) = [child for child in psutil.Process().children() if "serve(socket" in " ".join(child.cmdline())]
    server.suspend()
    assert fork("descriptors").wait() == 0
    assert second.poll() is None


def test_a_server_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamseg.ipc.fork_server._START_S", 0.2)
    server = ForkServer([sys.executable, "-c", "import time; time.sleep(600)"], dict(os.environ))
    with pytest.raises(TimeoutError, match="does not answer"):
        server.fork("wait")
    server.close()


def test_the_server_ends_with_the_process_that_started_it() -> None:
    starter = (
        "import os, sys; from streamseg.ipc.fork_server import ForkServer; "
        f"server = ForkServer([sys.executable, '-c', {PROGRAM!r}], dict(os.environ)); "
        "server.fork('descriptors').wait(); print(server._process.pid, flush=True); os._exit(0)"
    )
    number = int(subprocess.check_output([sys.executable, "-c", starter]))
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(number).wait(20)
    assert not psutil.pid_exists(number)
