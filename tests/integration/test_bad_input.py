"""Bad input: one line, the exit code of its kind, and nothing left behind."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clips import write_clip
from leftovers import Place
from pipeline_runs import free_endpoint
from rtsp_fixture import StartRtspServer

SMALL = ("--detector", "motion", "--segmenter", "grabcut", "--set", "publish.bind=tcp://127.0.0.1:*")
OUTPUTS = ("--record", "out.mp4", "--jsonl", "out.jsonl")
PASSWORD = "s3cret-w0rd"

pytest_plugins = ("leftovers", "rtsp_fixture")


def fails(place: Place, status: int, *arguments: str, within: float = 60) -> str:
    """Run a command that must fail; its whole output is one line, which is returned."""
    began = time.monotonic()
    with place.run(*arguments) as run:
        code, output, errors = run.finish(120)
    took = time.monotonic() - began
    lines = errors.splitlines()
    assert code == status, errors
    assert output == ""
    assert len(lines) == 1, errors
    assert lines[0].startswith("streamseg: ")
    assert took < within
    place.check_nothing_left()
    return lines[0]


def fails_without_output(place: Place, status: int, *arguments: str, within: float = 60) -> str:
    """The same for a run that was to record."""
    line = fails(place, status, "run", *arguments, *OUTPUTS, within=within)
    assert not (place.folder / "out.mp4").exists()
    assert not (place.folder / "out.jsonl").exists()
    return line


@pytest.fixture
def clip(place: Place) -> Path:
    return write_clip(place.folder / "clip.mp4", frames=3)


@pytest.fixture
def mute_server() -> Iterator[int]:
    """The port of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        clients: list[socket.socket] = []

        def accept() -> None:
            while True:
                client, _ = listener.accept()
                clients.append(client)
                if len(client.recv(1, socket.MSG_PEEK)) == 0:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        port: int = listener.getsockname()[1]
        yield port
        with socket.create_connection(("127.0.0.1", port)):
            pass
        thread.join()
        for client in clients:
            client.close()
