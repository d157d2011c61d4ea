"""A web server for video: files of a folder, MJPEG streams, and HLS lists that grow."""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2

from support.clips import numbered

SEGMENT_FRAMES = 10
"""Frames of a segment; a second has twice as many."""


@dataclass
class VideoServer:
    """State of the server.

    Attributes:
        folder: Its files.
        login: User and password that it requires.
        stalled: While set, no stream sends anything; they stay open.
        refused: While set, every request gets this status.
        requests: Paths so far.
    """

    folder: Path
    port: int = 0
    login: tuple[str, str] | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    refused: int | None = None
    requests: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, login: str = "") -> str:
        """The address of a file or stream: `camera.mjpeg` is an MJPEG stream of 64x48 at 20 pictures a second."""
        return f"http://{login}127.0.0.1:{self.port}/{path}"


@contextmanager
def video_server(folder: Path, certificate: Path | None = None, key: Path | None = None) -> Iterator[VideoServer]:
    """Serve on a free port of this machine, with a certificate over TLS."""
    state = VideoServer(folder)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            state.requests.append(self.path)
            if state.refused is not None:
                self.send_error(state.refused)
            elif state.login is not None and self.headers["Authorization"] != _basic(state.login):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="video"')
                self.end_headers()
            elif self.path == "/camera.mjpeg":
                with suppress(OSError):
                    self.stream()
            else:
                with suppress(OSError):
                    super().do_GET()

        def stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            number = 0
            while not state.ended.wait(0.05):
                if not state.stalled.is_set():
                    jpeg = cv2.imencode(".jpg", numbered(number % 64, 64, 48))[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                    number += 1

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        state.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            state.ended.set()
            server.shutdown()
            thread.join()


def _basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


class LiveList:
    """Writes an HLS list `live.m3u8` into a folder, and half-second segments with numbered pictures, by the clock."""

    def __init__(self, folder: Path, window: int = 6) -> None:
        self._folder = folder
        self._window = window
        self.count = 0
        self.paused = threading.Event()
        self._stop = threading.Event()
        for _ in range(4):
            self._add()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def finish(self) -> None:
        """Write the end of the list."""
        self._stop.set()
        self._thread.join()
        self._write(finished=True)

    def _run(self) -> None:
        while not self._stop.wait(SEGMENT_FRAMES / 20):
            if not self.paused.is_set():
                self._add()

    def _add(self) -> None:
        write_segment(self._folder / f"{self.count}.ts", self.count * SEGMENT_FRAMES)
        self.count += 1
        self._write(finished=False)

    def _write(self, *, finished: bool) -> None:
        numbers = range(max(0, self.count - self._window), self.count)
        _write_list(self._folder / "live.m3u8", numbers, finished=finished)


def write_finished_list(folder: Path, segments: int) -> Path:
    """Write a whole list and its segments."""
    for number in range(segments):
        write_segment(folder / f"{number}.ts", number * SEGMENT_FRAMES)
    return _write_list(folder / "list.m3u8", range(segments), finished=True)


def write_segment(path: Path, start: int) -> None:
    """Write an MPEG-TS segment of 64x48 pictures with their numbers, 20 a second."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.bit_rate = 1_000_000
        stream.codec_context.gop_size = SEGMENT_FRAMES
        stream.codec_context.max_b_frames = 0
        for number in range(start, start + SEGMENT_FRAMES):
            frame = av.VideoFrame.from_ndarray(numbered(number % 64, 64, 48), format="bgr24")
            frame.pts = number + 20  # MPEG-TS moves a first timestamp of 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _write_list(path: Path, numbers: range, *, finished: bool) -> Path:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{numbers.start}"]
    for number in numbers:
        lines += [f"#EXTINF:{SEGMENT_FRAMES / 20},", f"{number}.ts"]
    lines += ["#EXT-X-ENDLIST"] if finished else []
    part = path.with_suffix(".part")
    part.write_text("\n".join(lines) + "\n")
    part.replace(path)
    return path
