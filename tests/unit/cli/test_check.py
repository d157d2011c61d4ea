"""`streamseg check` refuses what `streamseg run` refuses, in the same words, and both before a process starts."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from support.failing_command import fail

SETTINGS = """
sources: [{url: "synthetic:?frames=3"}]
detector: {model: motion}
segmenter: {model: nano}
publish: {bind: "tcp://127.0.0.1:*"}
"""
LONG = "n" * 300
NOT_UTF8 = os.fsdecode(b"o\xdf")
BOX = "detector.boxes=[{xyxy: [0, 0, 9, 9]}]"


@pytest.fixture(autouse=True)
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SETTINGS)
    Path("there.mp4").touch()
    Path("folder.mp4").mkdir()


@pytest.mark.parametrize(
    ("status", "complaint", "assignments"),
    [
        (2, "detector.boxes: (90.0,", ("detector.model=fixed", "detector.boxes=[{xyxy: [90, 90, 10, 10]}]")),
        (2, "detector.boxes: (0.0,", ("detector.model=fixed", "detector.boxes=[{xyxy: [0, 0, 1.0e+7, 10]}]")),
        (2, "detector.boxes.0.xyxy.2: the number", (f"detector.boxes=[{{xyxy: [0, 0, {2**70}, 10]}}]",)),
        (2, "detector.classes: the model has no class 'cat'", ("detector.model=fixed", BOX, "detector.classes=[cat]")),
        (2, "detector.weights: motion takes no weights", ("detector.weights=there.mp4",)),
        (2, "detector.weights: fixed takes no weights", ("detector.model=fixed", BOX, "detector.weights=there.mp4")),
        (2, "detector.weights: detector.model already", ("detector.model=a.onnx", "detector.weights=b.onnx")),
        (4, "gone.onnx is not a file", ("detector.model=gone.onnx",)),
        (4, "gone is not a file", ("detector.model=yolox-s", "detector.weights=gone")),
        (4, "gone is not a file", ("segmenter.weights=gone",)),
        (4, "cannot be read: File name too long", (f"detector.model={LONG}.onnx",)),
        (2, "detector.model: 'gone' is unknown", ("detector.model=gone",)),
        (2, "segmenter.providers: ", ("segmenter.providers=[CPU]",)),
        (2, "segmenter.providers: 'a\\udcdf' is not Unicode", (f"segmenter.providers=a{NOT_UTF8[1]}",)),
        (2, "'x\\udcdf' is not Unicode", (f"x{NOT_UTF8[1]}=1",)),
        (2, "sources.main.password_file: there is no such file", ("sources.0.password_file=gone",)),
        (2, "password_file: there.mp4 has no first line", ("sources.0.password_file=there.mp4",)),
        (2, "File name too long", (f"sources.0.password_file={LONG}",)),
        (3, "bad RTSP URL", ("sources.0.url=rtsp://cam:/x",)),
        (3, "bad RTSP URL", ("sources.0.url=rtsp://cam:port/x",)),
        (3, "the port 99999; expected 1 to 65535", ("sources.0.url=rtsp://cam:99999/x",)),
        (3, "the port 0; expected", ("sources.0.url=rtsp://cam:0/x",)),
        (3, "a password without a user name", ("sources.0.url=rtsp://:x@cam/x",)),
        (3, "synthetic: frames='x'", ("sources.0.url=synthetic:?frames=x",)),
        (3, "'synthetic://[x?frames=1' cannot be read", ("sources.0.url='synthetic://[x?frames=1'",)),
        (3, "gone.mp4: no such file", ("sources.0.url=gone.mp4",)),
        (3, "the folder folder.mp4 has no videos, it is empty", ("sources.0.url=folder.mp4",)),
        (3, "File name too long", (f"sources.0.url={LONG}",)),
        (3, "there is no such user", ("sources.0.url=~nobody-of-that-name/a.mp4",)),
        (2, "sources.main.url: ftp://cam/x", ("sources.0.url=ftp://cam/x",)),
        (2, "publish.bind: tcp://127.0.0.1:99999 has no valid port", ("publish.bind=tcp://127.0.0.1:99999",)),
        (2, "publish.bind: tcp://127.0.0.1:0 has no valid port", ("publish.bind=tcp://127.0.0.1:0",)),
        (2, "publish.bind: 'tcp://***@", ("publish.bind=tcp://u:p@127.0.0.1:5555",)),
        (2, "has no valid port", (f"publish.bind=tcp://127.0.0.1:{'9' * 4000}",)),
        (2, "publish.bind: cannot bind tcp://192.0.2.1:5", ("publish.bind=tcp://192.0.2.1:5", "publish.insecure=true")),
        (2, "is longer than 107 bytes", (f"publish.bind=ipc://{LONG}",)),
        (2, "publish.bind: there.mp4 exists and is not a socket", ("publish.bind=ipc://there.mp4",)),
        (2, "publish.connect: tcp://127.0.0.1:70000 has no valid", ("publish.connect=tcp://127.0.0.1:70000",)),
        (2, "publish.connect: n", (f"publish.connect=ipc://{LONG}",)),
        (2, "publish.curve.allow: b cannot be read", ("publish.curve={secret_key_file: a, allow: b}",)),
        (2, "there.mp4 exists", ("record.video=there.mp4",)),
        (2, "folder.mp4 is a folder", ("record.video=folder.mp4",)),
        (2, "there is no folder gone", ("record.jsonl=gone/x.jsonl",)),
        (2, "File name too long", (f"record.jsonl={LONG}",)),
        (2, "cannot hold two recordings", ("record.video=a.mp4", "record.jsonl=a.mp4")),
        (2, "device 'cuda'", ("device=cuda",)),
    ],
)  # fmt: skip
def test_what_a_run_refuses(
    status: int,
    complaint: str,
    assignments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = ("s.yaml", *(word for one in assignments for word in ("--set", one)))
    printed = []
    for command in ("check", "run"):
        assert fail(monkeypatch, command, *arguments) == status
        printed.append(capfd.readouterr().err)
    assert complaint in printed[0]
    assert printed[0] == printed[1] and len(printed[0].splitlines()) == 1


def test_an_endpoint_in_use(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        bind = f"publish.bind=tcp://127.0.0.1:{foreign.getsockname()[1]}"
        assert fail(monkeypatch, "check", "s.yaml", "--set", bind) == 2
    assert "is in use" in capfd.readouterr().err


def test_what_a_run_takes(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert fail(monkeypatch, "check", "s.yaml") == 0
    assert (
        fail(monkeypatch, "check", "s.yaml", "-y", "--set", "record.video=there.mp4", "--set", "record.jsonl='-'") == 0
    )
    assert (
        fail(monkeypatch, "check", "s.yaml", "--set", "detector.model=auto", "--set", "segmenter.model=sam-vit-b") == 0
    )
    assert capfd.readouterr().out == "s.yaml: valid; synthetic source, mode every-frame\n" * 3
