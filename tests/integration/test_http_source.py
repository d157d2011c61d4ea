from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from support.clips import number_of, write_clip
from support.file_server import serve
from support.watch import Watch
from support.web_video import SEGMENT_FRAMES, LiveList, VideoServer, video_server, write_finished_list

from streamseg.errors import SourceError, SourceRefusedError
from streamseg.messages import Frame
from streamseg.sources import Source, SourceSettings
from streamseg.sources.http_answer import Answer
from streamseg.sources.opening import open_source
from streamseg.sources.presence import check_present


@pytest.fixture
def server(tmp_path: Path) -> Iterator[VideoServer]:
    (tmp_path / "web").mkdir()
    with video_server(tmp_path / "web") as serving:
        yield serving


def opened(url: str, **more: object) -> Source:
    """The source as a run opens it, after a look at it."""
    return open_source(check_present(SourceSettings(url=url, **more)), 1)  # type: ignore[arg-type]


def frames_of(source: Source) -> list[Frame]:
    return [item for item in source.frames(0, threading.Event()) if isinstance(item, Frame)]


def steps_s(frames: list[Frame]) -> list[float]:
    return [(later.pts_ns - earlier.pts_ns) / 1e9 for earlier, later in pairwise(frames)]


def test_a_file_is_read_whole_and_as_a_file(server: VideoServer) -> None:
    write_clip(server.folder / "clip.mp4", frames=45)
    settings = check_present(SourceSettings(url=server.url("clip.mp4")))
    assert settings.live is False
    source = open_source(settings, 1)
    assert (source.info.frame_count, source.info.size) == (45, (64, 48))
    assert [number_of(frame.image) for frame in frames_of(source)] == list(range(45))
    assert [number_of(frame.image) for frame in source.frames(40, threading.Event())] == list(range(40, 45))  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A clip that FFmpeg does not read whole to learn what it is."""
    folder = tmp_path_factory.mktemp("long")
    return write_clip(folder / "clip.mkv", frames=600, width=320, height=240).read_bytes()


def test_a_connection_that_is_cut_continues_where_the_file_was_read_to(long_clip: bytes) -> None:
    with serve(long_clip) as web:
        source = opened(f"{web.url}/clip.mkv")
        web.faults[:] = ["none", "cut"]  # a look at it, then reading it
        assert [number_of(frame.image) for frame in frames_of(source)] == [number % 64 for number in range(600)]
        assert web.requests[-1].range not in (None, "bytes=0-")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_stalls_in_the_middle_ends_with_one_line(long_clip: bytes, *, ranges: bool) -> None:
    with serve(long_clip) as web:
        web.ranges = ranges
        source = opened(f"{web.url}/clip.mkv", timeout=0.5, start_timeout=2.0)
        web.faults[:] = ["none", "stall", *["mute"] * 20]
        start_s = time.monotonic()
        with pytest.raises(SourceError, match=r"^http://\S+/clip\.mkv (sends nothing|cannot be read further)"):
            frames_of(source)
        assert time.monotonic() - start_s < 20


def test_an_mjpeg_camera_is_live_and_timed_by_the_clock(server: VideoServer) -> None:
    watch = Watch(opened(server.url("camera.mjpeg")))
    assert watch.source.info.description == f"{server.url('camera.mjpeg')} (MJPEG 64x48)"
    frames = watch.frames(30)
    watch.source.close()
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + 30))
    assert sum(steps_s(frames[5:])) == pytest.approx(24 * 0.05, rel=0.3)


def test_an_mjpeg_camera_that_stalls_or_ends_is_lost_and_comes_back(server: VideoServer) -> None:
    watch = Watch(opened(server.url("camera.mjpeg"), timeout=1.0))
    watch.frames(5)
    server.stalled.set()
    assert watch.state("disconnected").detail == "no picture for 1.0 s"
    server.stalled.clear()
    watch.state("running")
    watch.frames(5)
    server.refused = 503
    server.ended.set()
    watch.state("disconnected")
    server.ended.clear()
    server.refused = None
    watch.state("running")
    watch.frames(5)
    watch.source.close()
    assert watch.times() == sorted(set(watch.times()))


def test_a_finished_list_is_a_file(server: VideoServer) -> None:
    write_finished_list(server.folder, 4)
    settings = check_present(SourceSettings(url=server.url("list.m3u8")))
    assert settings.live is False
    frames = frames_of(open_source(settings, 1))
    assert [number_of(frame.image) for frame in frames] == [number % 64 for number in range(4 * SEGMENT_FRAMES)]
    assert steps_s(frames) == pytest.approx([0.05] * (len(frames) - 1), abs=0.001)


@pytest.mark.parametrize("local", [False, True])
def test_of_a_list_of_lists_the_best_picture_is_read(server: VideoServer, *, local: bool) -> None:
    write_finished_list(server.folder, 2)
    lines = ["#EXTM3U", "#EXT-X-STREAM-INF:BANDWIDTH=1000,RESOLUTION=16x16", "gone.m3u8"]
    lines += ["#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=1,BANDWIDTH=90000", "list.m3u8"]
    (server.folder / "main.m3u8").write_text("\n".join(lines))
    url = str(server.folder / "main.m3u8") if local else server.url("main.m3u8")
    assert len(frames_of(opened(url))) == 2 * SEGMENT_FRAMES
    assert not any("gone" in path for path in server.requests)


@pytest.mark.parametrize("local", [False, True])
def test_a_live_list_is_played_by_the_clock_and_ends_when_it_is_finished(server: VideoServer, *, local: bool) -> None:
    with LiveList(server.folder) as live:
        url = str(server.folder / "live.m3u8") if local else server.url("live.m3u8")
        assert check_present(SourceSettings(url=url)).live is True
        watch = Watch(opened(url))
        start_s = time.monotonic()
        frames = watch.frames(40)
        assert time.monotonic() - start_s == pytest.approx(39 * 0.05, abs=0.8)
        numbers = [number_of(frame.image) for frame in frames]
        assert [(later - earlier) % 64 for earlier, later in pairwise(numbers)] == [1] * 39
        assert steps_s(frames) == pytest.approx([0.05] * 39, abs=0.03)
        assert numbers[0] == SEGMENT_FRAMES  # three segments before the end of the list
        live.finish()
        with pytest.raises(AssertionError, match="the source ended"):
            watch.state("disconnected")
        assert number_of(watch.items[-1].image) == (live.count * SEGMENT_FRAMES - 1) % 64  # type: ignore[union-attr]


def test_a_live_list_that_stops_is_lost_and_continues_with_its_new_segments(server: VideoServer) -> None:
    with LiveList(server.folder) as live:
        watch = Watch(opened(server.url("live.m3u8"), timeout=1.0))
        watch.frames(10)
        live.paused.set()
        assert watch.state("disconnected").detail == "no picture for 1.0 s"
        end = live.count * SEGMENT_FRAMES
        assert number_of(watch.newest().image) in [number % 64 for number in range(end - 3, end)]
        live.paused.clear()
        watch.state("running")
        # None is played again, and of many new ones the last three.
        assert number_of(watch.frames(1)[0].image) in [(end + n * SEGMENT_FRAMES) % 64 for n in range(4)]
        watch.source.close()
    assert watch.times() == sorted(set(watch.times()))


def test_the_login_is_sent_and_never_shown(server: VideoServer, tmp_path: Path) -> None:
    write_finished_list(server.folder, 1)
    write_clip(server.folder / "clip.mp4", frames=5)
    server.login = ("us@er", "p@ss:w/rd")
    (tmp_path / "password").write_text(server.login[1])
    for path in ("clip.mp4", "list.m3u8", "camera.mjpeg"):
        source = opened(server.url(path), username="us@er", password_file=str(tmp_path / "password"))
        assert "p@ss" not in repr(source.info) and "p%40ss" not in repr(source.info)
        stop = threading.Event()
        assert isinstance(next(iter(source.frames(0, stop))), Frame)
        source.close()
    with pytest.raises(SourceRefusedError, match=r"refused the user name or password \(401\)") as raised:
        opened(server.url("clip.mp4", "us%40er:secret@"))
    assert "secret" not in str(raised.value)


def test_each_failure_to_open_has_a_reason(server: VideoServer) -> None:
    (server.folder / "page.html").write_text("<!DOCTYPE html><title>Camera</title>")
    (server.folder / "page").write_text("<html><body>log in</body></html>")
    (server.folder / "empty.mp4").write_bytes(b"")
    (server.folder / "noise.mp4").write_bytes(bytes(range(256)) * 100)
    (server.folder / "notes.txt").write_text("bring milk\n" * 100)
    for path, reason in {
        "notes.txt": r"notes\.txt is text, not a video",
        "gone.mp4": r"gone\.mp4: the server has nothing there \(404\); check the path",
        "page.html": "is a web page, not a video; give the address of the video itself",
        "page": "is a web page, not a video",
        "empty.mp4": "is empty; expected a video",
        "noise.mp4": r"noise\.mp4 cannot be opened as a video",
    }.items():
        with pytest.raises(SourceError, match=reason):
            opened(server.url(path))
    server.refused = 500
    with pytest.raises(SourceError, match="answered 500 Internal Server Error; expected a video"):
        opened(server.url("clip.mp4"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(SourceError, match=r"did not answer within 0\.5 s"):
            opened(f"http://127.0.0.1:{silent.getsockname()[1]}/video", start_timeout=0.5)
        closed = silent.getsockname()[1]
    with pytest.raises(SourceError, match=r"refused the connection; .* that the server runs"):
        opened(f"http://127.0.0.1:{closed}/video.mp4")
    with pytest.raises(SourceError, match=r"the host name 'video\.invalid' is unknown"):
        opened("http://video.invalid/x.mp4")


def test_an_absent_camera_is_awaited_with_wait(server: VideoServer) -> None:
    server.refused = 404
    watch = Watch(opened(server.url("camera.mjpeg"), wait=True))
    assert "the server has nothing there (404)" in watch.state("disconnected").detail
    server.refused = None
    watch.state("running")
    watch.frames(3)
    watch.source.close()


def test_a_list_reaches_no_file_of_this_machine(server: VideoServer, tmp_path: Path) -> None:
    write_finished_list(server.folder, 1)
    shutil.move(server.folder / "0.ts", tmp_path / "0.ts")
    (server.folder / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.5,\nfile://{tmp_path}/0.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(SourceError):
        opened(server.url("list.m3u8"))


def test_a_certificate_is_checked_by_the_look_and_by_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    made = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2")
    names = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "certificate.pem")
    subprocess.run([openssl, *made, *names], cwd=tmp_path, check=True, capture_output=True)
    write_clip(tmp_path / "clip.mp4", frames=5)
    with video_server(tmp_path, certificate=tmp_path / "certificate.pem", key=tmp_path / "key.pem") as server:
        url = server.url("clip.mp4").replace("http:", "https:")
        with pytest.raises(SourceError, match="has a certificate that this machine does not trust"):
            opened(url)
        monkeypatch.setattr("streamseg.sources.http.look", lambda address, timeout_s: Answer(False, url))
        with pytest.raises(SourceError, match=r"clip\.mp4 cannot be opened as a video"):
            open_source(SourceSettings(url=url, live=False), 1)
        monkeypatch.undo()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        assert len(frames_of(opened(url))) == 5
