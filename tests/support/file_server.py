"""A web server with one file and with the faults of real networks."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    """The parts of a request that tests check."""

    path: str
    range: str | None
    credentials: str | None


@dataclass
class FileServer:
    """State of the server. It also answers as a proxy: then the path is a whole address.

    Attributes:
        url: Its address.
        content: The file, under every path.
        ranges: Whether it serves parts of the file.
        faults: What goes wrong with the next requests, one each: a status, or one of `cut` (half of the requested
            bytes), `stall` (the same, and the connection stays open), `mute` (no response), `wrong` (other bytes),
            `short` (a shorter file), `unsized` (no length), `unsized cut`, `trickle` (100 bytes every 20 ms).
        requests: The requests so far.
        release: Set when stalled requests may end.
    """

    url: str
    content: bytes
    ranges: bool = True
    faults: list[str | int] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve(content: bytes) -> Iterator[FileServer]:
    """Serve on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            state.requests.append(Request(self.path, self.headers["Range"], self.headers["Proxy-Authorization"]))
            fault = state.faults.pop(0) if state.faults else "none"
            if isinstance(fault, int):
                self.send_error(fault)
            elif fault == "mute":
                state.release.wait(60)
            else:
                self.respond(fault)

        def respond(self, fault: str) -> None:
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            start = int(wanted[1]) if wanted and state.ranges else 0
            content = {"wrong": state.content[::-1], "short": state.content[:-1]}.get(fault, state.content)
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            body = content[start:]
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if state.ranges:
                self.send_header("Accept-Ranges", "bytes")
            if not fault.startswith("unsized"):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if fault == "trickle":
                self.trickle(body)
                return
            self.wfile.write(body[: len(body) // 2] if fault.endswith(("cut", "stall")) else body)
            if fault == "stall":
                self.wfile.flush()
                state.release.wait(60)

        def trickle(self, body: bytes) -> None:
            for place in range(0, len(body), 100):
                try:
                    self.wfile.write(body[place : place + 100])
                except OSError:
                    return
                if state.release.wait(0.02):
                    return

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = FileServer(f"http://127.0.0.1:{http.server_address[1]}", content)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield state
    finally:
        state.release.set()
        http.shutdown()
        http.server_close()
        thread.join()
