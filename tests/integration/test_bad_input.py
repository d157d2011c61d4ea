"""Bad input: one line, the exit code of its kind, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.clips import write_clip
from support.leftovers import Place
from support.picture_bombs import jpeg_of_size
from support.pipeline_runs import STAGES, Run, free_endpoint, until
from support.rtsp_fixture import StartRtspServer

SMALL = ("--detector", "motion", "--segmenter", "nano", "--set", "publish.bind=tcp://127.0.0.1:*")
OUTPUTS = ("--record", "out.mp4", "--jsonl", "out.jsonl")
PASSWORD = "s3cret-w0rd"


def fails(place: Place, status: int, *arguments: str) -> str:
    """Run a command that must fail, and return the one line that it prints besides its progress."""
    with place.run(*arguments) as run:
        code, output, errors = run.finish(120)
    # --verbose also logs threads and models.
    others = (
        ("exporting mobilesam", "fetching ", "threads: ", "segment: running nano")
        if "--verbose" in arguments
        else ("exporting mobilesam", "fetching ")
    )
    lines = [line for line in errors.splitlines() if not line.startswith(others)]
    assert code == status, errors
    assert output == "" and PASSWORD not in errors
    assert len(lines) == 1, errors
    assert lines[0].startswith("streamseg: ")
    place.check_nothing_left()
    return lines[0]


def fails_without_output(place: Place, status: int, *arguments: str) -> str:
    """Like `fails`, for a run with recordings, of which no file may appear."""
    line = fails(place, status, "run", *arguments, *OUTPUTS)
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


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("nope.mp4", "nope.mp4: no such file"),
        ("text.mp4", "text.mp4"),
        ("empty", "sources.main.url: the folder empty has no videos, it is empty; expected files such as .mp4"),
        ("empty/*.mp4", "sources.main.url: no file matches empty/*.mp4; expected video files: check the folder"),
        ("99", "camera 99"),
        ("bomb.jpg", "bomb.jpg is too large, 30000x30000 pixels"),
        ("wide.mkv", "wide.mkv has pictures of 8200x16 pixels; a side may have at most 8192"),
        ("pipe.png", "pipe.png is not a file"),
    ],
)
def test_an_unusable_source(place: Place, source: str, complaint: str) -> None:
    (place.folder / "text.mp4").write_text("This is no film.\n" * 200)
    (place.folder / "bomb.jpg").write_bytes(jpeg_of_size(30_000, 30_000))
    write_clip(place.folder / "wide.mkv", frames=2, width=8200, height=16, codec="ffv1")
    (place.folder / "empty").mkdir()
    os.mkfifo(place.folder / "pipe.png")
    assert complaint in fails_without_output(place, 3, "--source", source, *SMALL)


def test_a_file_that_is_missing_among_others_is_named_before_anything_starts(place: Place, clip: Path) -> None:
    several = ("--source", "a=clip.mp4", "--source", "b=nope.mp4", "--source", "c=clip.mp4")
    assert "nope.mp4: no such file; give the path" in fails_without_output(place, 3, *several, *SMALL)


def test_a_missing_source_is_reported_before_weights_are_downloaded(place: Place, mute_server: int) -> None:
    place.environment["https_proxy"] = f"http://127.0.0.1:{mute_server}"
    assert "no such file" in fails_without_output(place, 3, "--source", "nope.mp4")


def test_an_rtsp_host_that_refuses_or_never_answers(place: Place, mute_server: int) -> None:
    nobody = free_endpoint().removeprefix("tcp://")
    assert f"rtsp://{nobody}/x refused" in fails_without_output(
        place, 3, "--source", f"rtsp://user:{PASSWORD}@{nobody}/x", *SMALL
    )
    silent = f"rtsp://127.0.0.1:{mute_server}/x"
    patience = ("--set", "sources.0.start_timeout=1")
    assert "within 1 s" in fails_without_output(place, 3, "--source", silent, *SMALL, *patience)


def test_a_wrong_password_is_refused_and_never_shown(place: Place, rtsp_server: StartRtspServer) -> None:
    server = rtsp_server(user="user", password="right")
    (place.folder / "password").write_text(PASSWORD + "\n")
    in_url = f"rtsp://user:{PASSWORD}@127.0.0.1:{server.port}/stream"
    in_file = ("--source", server.url, "--set", "sources.0.username=user", "--set", "sources.0.password_file=password")
    for source in (("--source", in_url, "--verbose"), in_file):
        line = fails_without_output(place, 3, *source, *SMALL)
        assert "refused the user name or password" in line


def test_the_list_of_processes_shows_no_password(place: Place, mute_server: int) -> None:
    source = f"rtsp://user:{PASSWORD}@127.0.0.1:{mute_server}/x"
    with place.run("run", "--source", source, *SMALL) as run:
        until(lambda: "streamseg run" in psutil.Process(run.process.pid).cmdline(), 30, "a title without arguments")
        until(lambda: len(run.stages()) == len(STAGES), 60, "all stages")
        assert not [word for process in place.processes() for word in process.cmdline() if PASSWORD in word]
        run.process.send_signal(signal.SIGINT)
        assert PASSWORD not in "".join(run.finish(30)[1:])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ("run", "--source", "clip.mp4", "--set", "detector.cnf=0.5"),
            "detector.cnf: unknown key; expected one of model,",
        ),
        (("run", "--source", "clip.mp4", "--set", "detector.conf=.nan"), "detector.conf: nan"),
        (
            ("run", "--set", "sources.0.password_file=gone", "--source", "rtsp://127.0.0.1/x", *SMALL),
            "password_file: there is no such file",
        ),
        (
            ("run", "--source", "a=clip.mp4", "--source", "a=clip.mp4", *SMALL),
            "sources.1.name: a is the name of sources.0 too",
        ),
        (("run", "--source", "clip.mp4", "--record", "gone/out.mp4", *SMALL), "there is no folder gone"),
        (("run", "--source", "clip.mp4", "--record", "clip.mp4", "-y", *SMALL), "clip.mp4 is the source itself"),
        (("run", "--source", "clip.mp4", "--show", *SMALL), "no display"),
        (("run", "--nonsense"), "--nonsense"),
        (("run", "--max-frames", "few"), "--max-frames"),
        (("nonsense",), "'nonsense'"),
        (("check", "clip.mp4"), "clip.mp4: not YAML"),
        (("check", "gone.yaml"), "gone.yaml: cannot be read"),
        (("check", "wrong.yaml"), "detector.conf: "),
        (("init", "nonsense"), "'nonsense' is not an example; expected one of cameras, demo, file"),
        (("init", "webcam"), "webcam.yaml exists"),
        (("show",), "no display"),
        (("subscribe", "nonsense"), "'nonsense'"),
        (("demo", "--output", "clip.mp4"), "clip.mp4 cannot be made"),
    ],
)
def test_wrong_use(place: Place, clip: Path, arguments: tuple[str, ...], complaint: str) -> None:
    (place.folder / "webcam.yaml").write_text("mine\n")
    (place.folder / "wrong.yaml").write_text("sources: [{url: clip.mp4}]\ndetector: {conf: 2}\n")
    before = {path: path.read_bytes() for path in place.folder.iterdir()}
    assert complaint in fails(place, 2, *arguments)
    assert {path: path.read_bytes() for path in place.folder.iterdir()} == before


def test_an_output_that_exists_is_overwritten_only_with_y(place: Place, clip: Path) -> None:
    for name in ("out.mp4", "out.jsonl"):
        kept = place.folder / name
        kept.write_text("mine\n")
        assert f"{name} exists" in fails(
            place, 2, "run", "--source", "clip.mp4", "--record" if name == "out.mp4" else "--jsonl", name, *SMALL
        )
        assert kept.read_text() == "mine\n"
    with place.run("run", "--source", "clip.mp4", *OUTPUTS, "-y", *SMALL) as run:
        code, output, errors = run.finish(60)
    assert code == 0, errors
    assert output.startswith("frames: 3, ")
    publishing, models = errors.splitlines()
    assert publishing.startswith("publishing on tcp://127.0.0.1:")
    assert models == "models: motion + nano"
    assert (place.folder / "out.jsonl").read_bytes().count(b"\n") == 3
    assert (place.folder / "out.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("model", "name", "complaint"),
    [
        (
            ("--detector", "motion", "--segmenter", "mobilesam", "--set", "segmenter.weights=weights"),
            "weights",
            "weights is not a PyTorch",
        ),
        (
            ("--detector", "yolox-nano", "--segmenter", "nano", "--set", "detector.weights=weights"),
            "weights",
            "weights is not an ONNX",
        ),
        (
            ("--detector", "yolox-nano", "--segmenter", "nano", "--set", "detector.weights=gone"),
            "gone",
            "gone is not a file",
        ),
    ],
)
def test_weights_that_are_none(place: Place, clip: Path, model: tuple[str, ...], name: str, complaint: str) -> None:
    (place.folder / "weights").write_text("These are no weights.\n" * 200)
    assert complaint in fails_without_output(place, 4, "--source", "clip.mp4", *SMALL[4:], *model)


def test_no_network_for_weights_that_were_asked_for_by_name(place: Place, clip: Path, mute_server: int) -> None:
    asked = ("--source", "clip.mp4", "--detector", "yolox-nano", "--segmenter", "nano", *SMALL[4:])
    line = fails_without_output(place, 4, *asked)
    assert "weights of yolox-nano are not available (the proxy could not be reached" in line
    place.environment["https_proxy"] = f"http://127.0.0.1:{mute_server}"
    line = fails_without_output(place, 4, *asked)
    assert "did not answer in time" in line


def test_an_endpoint_in_use_is_named(place: Place, clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        taken = f"tcp://127.0.0.1:{foreign.getsockname()[1]}"
        line = fails_without_output(place, 2, "--source", "clip.mp4", *SMALL[:4], "--set", f"publish.bind={taken}")
        assert f"{taken} is in use" in line


def test_the_endpoint_of_another_run_is_named_and_left_to_it(place: Place, tmp_path: Path) -> None:
    endpoint = free_endpoint()
    bind = ("--source", "synthetic:", *SMALL[:4], "--set", f"publish.bind={endpoint}")
    with place.run("run", *bind, "--jsonl", "first.jsonl") as first:
        records = place.folder / "first.jsonl"
        until(lambda: records.exists() and records.stat().st_size, 60, "a first record")
        with Run("run", *bind, "--record", "out.mp4", cwd=tmp_path, environment=place.environment) as second:
            code, output, errors = second.finish(60)
        assert (code, output) == (2, "")
        assert errors.startswith(f"streamseg: {endpoint} is in use")
        assert len(errors.splitlines()) == 1
        assert not (tmp_path / "out.mp4").exists()
        size = records.stat().st_size
        until(lambda: records.stat().st_size > size, 10, "another record of the first run")
        first.process.send_signal(signal.SIGINT)
        assert first.finish(20)[0] == 130


def test_a_subscriber_to_nobody_waits_until_it_is_told_to_end(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        with place.run("subscribe", f"tcp://127.0.0.1:{listener.getsockname()[1]}") as run:
            listener.accept()[0].close()
            listener.accept()[0].close()  # it reconnects
            assert run.process.poll() is None
            run.process.send_signal(signal.SIGINT)
            code, output, errors = run.finish(10)
            assert (code, output) == (130, "")
            assert errors in ("", f"waiting for tcp://127.0.0.1:{listener.getsockname()[1]}\n")
