from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from support.clips import number_of, write_clip
from support.rtsp_fixture import StartRtspServer
from support.tcp_proxy import TcpProxy
from support.watch import Watch

from streamseg.errors import SourceError, SourceRefusedError
from streamseg.messages import Frame
from streamseg.sources import SourceChange, SourceSettings
from streamseg.sources.rtsp import RtspSource

PASSWORD = "p@s:s/w#rd%41"


@pytest.fixture
def watch() -> Iterator[Callable[[SourceSettings], Watch]]:
    """Opens sources and closes them with the test."""
    watches: list[Watch] = []

    def open_source(options: SourceSettings) -> Watch:
        watches.append(Watch(RtspSource(options)))
        return watches[-1]

    yield open_source
    for opened in watches:
        opened.source.close()


OpenWatch = Callable[[SourceSettings], Watch]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_every_picture_of_a_clip_arrives(
    rtsp_server: StartRtspServer, watch: OpenWatch, tmp_path: Path, transport: Literal["tcp", "udp"]
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=30, width=320, height=240, fps=15)
    server = rtsp_server(clip)
    camera = watch(SourceSettings(url=server.url, transport=transport))
    assert camera.source.info.description == f"{server.url} (h264 320x240 over {transport})"
    assert camera.source.info.fps == 15

    frames = camera.frames(40)

    assert {frame.image.shape for frame in frames} == {(240, 320, 3)}
    # A picture may be lost on the way, but each has its own time.
    passed = [(later.pts_ns - earlier.pts_ns) * 15 / 1e9 for earlier, later in pairwise(frames[2:])]
    numbers = [(number_of(later.image) - number_of(earlier.image)) % 30 for earlier, later in pairwise(frames[2:])]
    assert passed == pytest.approx(numbers, abs=0.1)
    assert numbers.count(1) > 30


def test_stop_ends_the_frames(rtsp_server: StartRtspServer, watch: OpenWatch) -> None:
    camera = watch(SourceSettings(url=rtsp_server().url))
    camera.frames(5)
    camera.stop.set()
    with pytest.raises(AssertionError, match="the source ended"):
        camera.frames(1)


def test_credentials_are_required_encoded_and_never_shown(
    rtsp_server: StartRtspServer, watch: OpenWatch, tmp_path: Path
) -> None:
    right_file, wrong_file = tmp_path / "right", tmp_path / "wrong"
    right_file.write_text(PASSWORD)
    wrong_file.write_text("secret-two")
    server = rtsp_server(user="us@er", password=PASSWORD)
    camera = watch(SourceSettings(url=server.url, username="us@er", password_file=str(right_file)))
    camera.frames(3)
    assert PASSWORD not in repr(camera.source.info)

    wrong = server.url.replace("//", "//us%40er:secret-one@")
    for options in (
        SourceSettings(url=wrong),
        SourceSettings(url=server.url, username="us@er", password_file=str(wrong_file), wait=True),
    ):
        with pytest.raises(SourceRefusedError, match="password_file") as raised:
            list(RtspSource(options).frames(0, threading.Event()))
        assert "secret" not in "".join(traceback.format_exception(raised.value))


def test_a_resolution_may_change(rtsp_server: StartRtspServer, watch: OpenWatch) -> None:
    server = rtsp_server(width=320, height=240)
    camera = watch(SourceSettings(url=server.url))
    assert camera.frames(1)[0].width == 320
    server.set_size(160, 120)
    changed = camera.until(lambda item: isinstance(item, Frame) and item.width == 160)
    assert isinstance(changed, Frame) and changed.image.shape == (120, 160, 3)
    assert not any(isinstance(item, SourceChange) for item in camera.items)


def test_stall_cut_and_refusal_are_announced_and_survived(rtsp_server: StartRtspServer, watch: OpenWatch) -> None:
    with TcpProxy(rtsp_server().port) as proxy:
        camera = watch(SourceSettings(url=f"rtsp://127.0.0.1:{proxy.port}/stream", timeout=1.0))
        camera.frames(15)

        proxy.stall()
        began = time.monotonic()
        assert camera.state("disconnected").detail == "no picture for 1.0 s"
        assert time.monotonic() - began > 0.9
        proxy.resume()
        camera.state("running")
        camera.frames(15)

        proxy.cut()
        assert camera.state("disconnected").detail == "the stream ended"
        camera.state("running")
        camera.frames(15)

        proxy.refuse()
        camera.state("disconnected")
        proxy.accept()
        camera.state("running")
        camera.frames(15)
    times = camera.times()
    assert times == sorted(set(times))


@pytest.mark.parametrize("every", [2000, 60])
def test_damaged_packets_are_survived(rtsp_server: StartRtspServer, watch: OpenWatch, every: int) -> None:
    """Pictures with errors, or none at all and a new connection: what comes is whole in time and size."""
    with TcpProxy(rtsp_server().port) as proxy:
        camera = watch(SourceSettings(url=f"rtsp://127.0.0.1:{proxy.port}/stream", timeout=1.0))
        camera.frames(15)
        proxy.damage(every)
        until_s = time.monotonic() + 3.0
        timer = threading.Timer(3.0, proxy.damage, (0,))
        timer.start()
        camera.until(lambda item: time.monotonic() > until_s)
        timer.join()
        camera.frames(45)
    times = camera.times()
    assert times == sorted(set(times))
    assert {item.image.shape for item in camera.items if isinstance(item, Frame)} == {(240, 320, 3)}


def test_a_stream_without_a_keyframe_is_an_error_that_says_so(rtsp_server: StartRtspServer) -> None:
    with TcpProxy(rtsp_server().port, keyframes=False) as proxy:
        url = f"rtsp://127.0.0.1:{proxy.port}/stream"
        with pytest.raises(SourceError, match="gave no picture within 2 s"):
            RtspSource(SourceSettings(url=url, start_timeout=2.0))


def test_a_short_pause_is_no_disconnection(rtsp_server: StartRtspServer, watch: OpenWatch) -> None:
    with TcpProxy(rtsp_server().port) as proxy:
        camera = watch(SourceSettings(url=f"rtsp://127.0.0.1:{proxy.port}/stream", timeout=3.0))
        camera.frames(15)
        proxy.stall()
        timer = threading.Timer(1.0, proxy.resume)
        timer.start()
        camera.frames(30)
        timer.join()
        assert not any(isinstance(item, SourceChange) for item in camera.items)
        assert proxy.accepted == 1


def test_a_killed_server_is_awaited(rtsp_server: StartRtspServer, watch: OpenWatch) -> None:
    server = rtsp_server()
    camera = watch(SourceSettings(url=server.url, timeout=1.0))
    camera.frames(10)
    server.kill()
    camera.state("disconnected")
    rtsp_server(port=server.port)
    camera.state("running")
    camera.frames(10)
    frames = [item for item in camera.items if isinstance(item, Frame)]
    times = [frame.pts_ns for frame in frames]
    assert times == sorted(set(times))
    assert [(later - earlier) / 1e9 for earlier, later in pairwise(times[-5:])] == pytest.approx([1 / 15] * 4, abs=0.01)
    # The time without pictures counts, although the new connection's timestamps restart.
    assert (times[-1] - times[0]) / 1e9 == pytest.approx(
        (frames[-1].t_capture_ns - frames[0].t_capture_ns) / 1e9, abs=0.8
    )


def test_the_end_of_a_live_stream_is_a_disconnection(
    rtsp_server: StartRtspServer, watch: OpenWatch, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=30, width=320, height=240, fps=15)
    camera = watch(SourceSettings(url=rtsp_server(clip, once=True).url, timeout=1.0))
    camera.state("disconnected")
    # The shared pipeline of the server restarts.
    camera.state("running")
    assert len(camera.times()) > 10


def test_stop_works_without_frames(rtsp_server: StartRtspServer, watch: OpenWatch) -> None:
    with TcpProxy(rtsp_server().port) as proxy:
        camera = watch(SourceSettings(url=f"rtsp://127.0.0.1:{proxy.port}/stream", timeout=2.0))
        camera.frames(5)
        proxy.stall()
        timer = threading.Timer(0.3, camera.stop.set)
        timer.start()
        with pytest.raises(AssertionError, match="the source ended"):
            camera.frames(100)
        timer.join()


def test_an_absent_camera_is_awaited_with_wait(rtsp_server: StartRtspServer, watch: OpenWatch) -> None:
    with TcpProxy(rtsp_server().port) as proxy:
        proxy.refuse()
        url = f"rtsp://127.0.0.1:{proxy.port}/stream"
        with pytest.raises(SourceError, match="refused the connection"):
            RtspSource(SourceSettings(url=url))
        camera = watch(SourceSettings(url=url, wait=True))
        assert "refused the connection" in camera.state("disconnected").detail
        proxy.accept()
        camera.state("running")
        camera.frames(5)


def test_each_failure_to_open_has_a_reason(rtsp_server: StartRtspServer) -> None:
    server = rtsp_server()
    with pytest.raises(SourceError, match=r"no such stream \(404\)"):
        RtspSource(SourceSettings(url=server.url + "-other"))
    with pytest.raises(SourceError, match=r"host name 'camera\.invalid' is unknown"):
        RtspSource(SourceSettings(url="rtsp://u:secret@camera.invalid/stream"))


def test_a_silent_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = SourceSettings(url=f"rtsp://u:secret@127.0.0.1:{silent.getsockname()[1]}/stream", start_timeout=1.0)
        with pytest.raises(SourceError, match="within 1 s") as raised:
            RtspSource(options)
        assert "secret" not in "".join(traceback.format_exception(raised.value))


def test_the_server_of_the_tests_ends_with_its_standard_input(rtsp_server: StartRtspServer) -> None:
    server = rtsp_server()
    server.stop()
    assert server.process.returncode == 0


def test_a_camera_of_one_picture_in_five_seconds_opens_by_default(
    watch: Callable[[SourceSettings], Watch], rtsp_server: StartRtspServer
) -> None:
    url = rtsp_server(fps="2/5").url  # half of the time, and of the patience
    patience_s = SourceSettings(url=url).start_timeout / 2
    watch(SourceSettings(url=url, start_timeout=patience_s)).frames(1)


def test_a_stream_of_sound_alone_is_named(rtsp_server: StartRtspServer) -> None:
    with pytest.raises(SourceError, match=r"/stream has no video stream, only sound or nothing .*; check the path$"):
        RtspSource(SourceSettings(url=rtsp_server(sound=True).url))
