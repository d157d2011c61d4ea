from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.clips import write_clip
from support.file_server import serve
from support.leftovers import Place
from support.pipeline_runs import Recording, read_records, until
from support.web_video import SEGMENT_FRAMES, LiveList, VideoServer, video_server, write_finished_list

MODELS = ("--detector", "motion", "--segmenter", "nano", "--set", "publish.bind=tcp://127.0.0.1:*")
PATIENCE = 60.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[VideoServer]:
    (tmp_path / "web").mkdir()
    with video_server(tmp_path / "web") as serving:
        yield serving


@pytest.fixture
def place(place: Place) -> Place:
    place.environment["no_proxy"] = "127.0.0.1"
    return place


def test_a_finished_list_is_segmented_frame_by_frame(place: Place, server: VideoServer) -> None:
    write_finished_list(server.folder, 3)
    with place.run("run", "--source", server.url("list.m3u8"), *MODELS, "--jsonl", "out.jsonl") as run:
        status, _, errors = run.finish(PATIENCE)
    assert status == 0, errors
    assert [int(each.seq) for each in read_records(place.folder / "out.jsonl")] == list(range(3 * SEGMENT_FRAMES))


def test_a_live_list_runs_live_and_ends_with_its_end(place: Place, server: VideoServer) -> None:
    recording = Recording(place.folder / "out.jsonl")
    with (
        LiveList(server.folder) as live,
        place.run("run", "--source", server.url("live.m3u8"), *MODELS, "--jsonl", "out.jsonl") as run,
    ):
        until(lambda: recording.seq >= 20, PATIENCE, "twenty frames")
        live.finish()
        status, output, errors = run.finish(PATIENCE)
    assert status == 0, errors
    assert "frame age" in output  # only a live run has it


def test_an_mjpeg_camera_runs_live(place: Place, server: VideoServer) -> None:
    run = place.run("run", "--source", server.url("camera.mjpeg"), *MODELS, "--max-frames", "20")
    with run:
        status, output, errors = run.finish(PATIENCE)
    assert status == 0, errors
    assert "frame age" in output


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone.mp4", "/gone.mp4: the server has nothing there (404); check the path"),
        ("page.html", "/page.html is a web page, not a video; give the address of the video itself"),
        ("secret.mp4", "/secret.mp4 refused the user name or password (401); check sources.main.username"),
    ],
)
def test_what_is_no_video_ends_the_run_before_it_starts(
    place: Place, server: VideoServer, path: str, reason: str
) -> None:
    (server.folder / "page.html").write_text("<!DOCTYPE html><title>Camera</title>")
    if path == "secret.mp4":
        server.login = ("user", "password")
    with place.run("run", "--source", server.url(path, "user:hidden@"), *MODELS) as run:
        status, output, errors = run.finish(PATIENCE)
    assert (status, output) == (3, "")
    assert reason in errors and len(errors.splitlines()) == 1
    assert "hidden" not in errors


def test_a_server_that_is_not_there_ends_the_run_before_it_starts(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with place.run("run", "--source", f"http://127.0.0.1:{port}/clip.mp4", *MODELS) as run:
        status, output, errors = run.finish(PATIENCE)
    assert (status, output) == (3, "")
    assert f"http://127.0.0.1:{port}/clip.mp4 refused the connection" in errors and len(errors.splitlines()) == 1


def test_a_file_that_stalls_in_the_middle_ends_the_run_with_one_line(place: Place, tmp_path: Path) -> None:
    content = write_clip(tmp_path / "clip.mkv", frames=600, width=320, height=240).read_bytes()
    with serve(content) as web:
        # The look before the run, the capture process's, its first frame, a look, and the reading.
        web.faults[:] = [*["none"] * 4, "stall", *["mute"] * 20]
        more = ("--set", "sources.0.timeout=0.5", "--set", "sources.0.start_timeout=2", "--jsonl", "out.jsonl")
        with place.run("run", "--source", f"{web.url}/clip.mkv", *MODELS, *more) as run:
            status, _, errors = run.finish(PATIENCE)
    assert status == 3
    assert "clip.mkv sends nothing more, also over new connections; try again, or download it first" in errors
    assert 0 < len(read_records(place.folder / "out.jsonl")) < 600
