"""GStreamer's RTSP server as a fixture, in a process of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, Self

import pytest

SYSTEM_PYTHON = "/usr/bin/python3"
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav"
)
PROBE = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
wanted = ("x264enc", "rtph264pay", "x265enc", "decodebin", "videotestsrc", "avdec_h264")
missing = [name for name in wanted if Gst.ElementFactory.find(name) is None]
raise SystemExit(f"missing: {missing}" if missing else 0)
"""


class RtspServer:
    """A running server with one stream; `url` leads to it, without credentials."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"rtsp://127.0.0.1:{port}/stream"

    @classmethod
    def start(
        cls,
        clip: Path | None = None,
        user: str | None = None,
        password: str | None = None,
        width: int = 320,
        height: int = 240,
        fps: str = "15",
        port: int = 0,
        once: bool = False,
        sound: bool = False,
        codec: str = "h264",
        audio: bool = False,
    ) -> Self:
        """Serve `clip` in a loop (or `once`), or a moving ball, scaled to width x height; with `audio` also a tone.

        `port` 0 takes a free one. With `sound` there is the tone alone.
        """
        command = [SYSTEM_PYTHON, str(Path(__file__).with_name("rtsp_server.py"))]
        command += ["--width", str(width), "--height", str(height), "--fps", fps, "--port", str(port)]
        command += ["--clip", str(clip)] if clip else []
        command += ["--once"] if once else []
        command += ["--sound"] if sound else []
        command += ["--codec", codec, *(["--audio"] if audio else [])]
        command += ["--user", user, "--password", password or ""] if user is not None else []
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the RTSP server ended with {process.wait()}")
        return cls(process, int(line))

    def set_size(self, width: int, height: int) -> None:
        """Change the resolution while clients watch."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"size {width} {height}\n")
        self.process.stdin.flush()

    def stop(self) -> None:
        """Stop the server cleanly; does nothing if it has ended."""
        self._close_pipes()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the server, as a power cut would stop a camera."""
        self.process.kill()
        self.process.wait(5)
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class StartRtspServer(Protocol):
    """`RtspServer.start`, ended with the test."""

    def __call__(
        self,
        clip: Path | None = None,
        user: str | None = None,
        password: str | None = None,
        width: int = 320,
        height: int = 240,
        fps: str = "15",
        port: int = 0,
        once: bool = False,
        sound: bool = False,
        codec: str = "h264",
        audio: bool = False,
    ) -> RtspServer: ...


@pytest.fixture(scope="session")
def rtsp_available() -> None:
    """Skip where GStreamer's server is not installed; fail on CI."""
    probe = None
    if Path(SYSTEM_PYTHON).exists():
        probe = subprocess.run([SYSTEM_PYTHON, "-c", PROBE], capture_output=True, text=True, timeout=60, check=False)
    if probe is None or probe.returncode != 0:
        reason = f"the RTSP server of the tests needs Debian's packages: apt-get install {PACKAGES}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def rtsp_server(rtsp_available: None) -> Iterator[StartRtspServer]:
    """A function that starts servers, which stop with the test."""
    with ExitStack() as running:

        def start(
            clip: Path | None = None,
            user: str | None = None,
            password: str | None = None,
            width: int = 320,
            height: int = 240,
            fps: str = "15",
            port: int = 0,
            once: bool = False,
            sound: bool = False,
            codec: str = "h264",
            audio: bool = False,
        ) -> RtspServer:
            server = RtspServer.start(clip, user, password, width, height, fps, port, once, sound, codec, audio)
            running.callback(server.stop)
            return server

        yield start
