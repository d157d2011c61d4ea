from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path

import pytest

from streamseg.errors import SourceError, SourceRefusedError
from streamseg.sources import SourceSettings
from streamseg.sources.address import NetworkAddress
from streamseg.sources.http_answer import Answer, look
from streamseg.sources.presence import check_present


@dataclass
class Web:
    """A server with an answer for each path.

    Attributes:
        answers: Status, headers and the pieces of the body, which may have no end.
        pause_s: Between two pieces.
        requests: Path and credentials of each request.
    """

    port: int = 0
    answers: dict[str, tuple[int, dict[str, str], Iterator[bytes]]] = field(default_factory=dict)
    pause_s: float = 0.0
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str, body: bytes | Iterator[bytes] = b"", status: int = 200, **headers: str) -> None:
        """Set the answer of a path; `_` stands for `-` in the names of headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = (status, named, iter([body]) if isinstance(body, bytes) else body)

    def look(self, path: str, timeout_s: float = 10.0, host: str = "127.0.0.1") -> Answer:
        """Look at a path."""
        return look(NetworkAddress.parse(f"http://{host}:{self.port}{path}"), timeout_s)


@contextmanager
def serving() -> Iterator[Web]:
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append((self.path, self.headers["Authorization"]))
            status, headers, body = state.answers[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                for piece in body:
                    self.wfile.write(piece)
                    state.sent += len(piece)
                    if state.ended.wait(state.pause_s):
                        return

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        state.ended.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as state:
        yield state


def list_of(variant: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{variant}\n".encode()


def test_a_list_leads_to_no_file_of_this_machine(web: Web, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    web.answer("/main.m3u8", list_of(f"file://{tmp_path}/pipe"))
    with pytest.raises(SourceError, match=r"main\.m3u8 leads to no http:// or https:// address; give the address"):
        web.look("/main.m3u8")


@pytest.mark.parametrize("target", ["ftp://127.0.0.1:1/x.mp4", "file:///etc/passwd", "data:,x"])
def test_a_redirect_leads_to_no_other_kind_of_server(web: Web, target: str) -> None:
    web.answer("/x.mp4", status=302, Location=target)
    with pytest.raises(SourceError, match=r"x\.mp4 redirects \(302\) too often, or to no http:// or https:// address"):
        web.look("/x.mp4")


def test_the_body_of_a_redirect_is_not_read(web: Web) -> None:
    web.answer("/from", repeat(bytes(1 << 16)), status=302, Location="/to.mp4")
    web.answer("/to.mp4", b"video", Content_Length="5")
    assert not web.look("/from").live
    assert web.sent < 1 << 24


@pytest.mark.parametrize("body", [b"x", b"#EXTM3U\n"])
def test_an_answer_that_trickles_ends_in_time(web: Web, body: bytes) -> None:
    web.pause_s = 0.2
    web.answer("/slow", repeat(body))
    start_s = time.monotonic()
    with pytest.raises(SourceError, match=r"/slow did not answer within 1 s"):
        web.look("/slow", timeout_s=1.0)
    assert time.monotonic() - start_s < 3


BASIC = 'Basic realm="video"'
LOGIN = "user:pass@127.0.0.1"


def test_a_login_follows_redirects_on_its_server_and_is_in_the_address_for_ffmpeg(web: Web) -> None:
    web.answer("/from.mp4", status=302, Location="/other/to.mp4")
    web.answer("/other/to.mp4", status=401, WWW_Authenticate=BASIC)
    with pytest.raises(SourceRefusedError):
        web.look("/from.mp4", host=LOGIN)
    assert web.requests[-1] == ("/other/to.mp4", "Basic dXNlcjpwYXNz")
    web.answer("/other/to.mp4", b"video", Content_Length="5")
    assert web.look("/from.mp4", host=LOGIN).url == f"http://{LOGIN}:{web.port}/other/to.mp4"


def test_a_host_in_capitals_is_the_same_server(web: Web) -> None:
    web.answer("/main.m3u8", list_of(f"http://LOCALHOST:{web.port}/best.m3u8"))
    web.answer("/best.m3u8", status=401, WWW_Authenticate=BASIC)
    with pytest.raises(SourceRefusedError):
        web.look("/main.m3u8", host="user:pass@LocalHost")
    assert web.requests[-1] == ("/best.m3u8", "Basic dXNlcjpwYXNz")


def test_another_server_on_the_same_host_gets_no_login(web: Web) -> None:
    with serving() as other:
        web.answer("/main.m3u8", list_of(f"http://127.0.0.1:{other.port}/best.m3u8"))
        other.answer("/best.m3u8", status=401, WWW_Authenticate=BASIC)
        with pytest.raises(SourceRefusedError):
            web.look("/main.m3u8", host=LOGIN)
        assert other.requests == [("/best.m3u8", None)]


def test_a_list_is_read_to_its_end_and_a_longer_one_than_any_is_refused(web: Web) -> None:
    long = b"#EXTM3U\n" + b"#EXTINF:1,\n0.ts\n" * 100_000
    web.answer("/vod.m3u8", long + b"#EXT-X-ENDLIST\n")
    assert not web.look("/vod.m3u8").live
    web.answer("/endless.m3u8", repeat(long))
    with pytest.raises(SourceError, match=r"endless\.m3u8 has more than 16 MiB; expected a shorter HLS list"):
        web.look("/endless.m3u8")


def test_a_path_may_have_spaces_and_letters_of_any_language(web: Web) -> None:
    web.answer("/vid%C3%A9o%201%2f.mp4?a=%C3%A9", b"video", Content_Length="5")
    url = web.look("/vidéo 1%2f.mp4?a=é").url
    assert url == f"http://127.0.0.1:{web.port}/vid%C3%A9o%201%2f.mp4?a=%C3%A9"


@pytest.mark.parametrize("challenge", ["Bearer", 'Digest realm="x", algorithm=NONE, nonce="1"', "Digest nonsense"])
@pytest.mark.parametrize("host", ["127.0.0.1", LOGIN])
def test_a_login_of_another_kind_is_a_refused_one(web: Web, challenge: str, host: str) -> None:
    web.answer("/x.mp4", status=401, WWW_Authenticate=challenge)
    with pytest.raises(SourceRefusedError, match=r"refused the user name or password \(401\)"):
        web.look("/x.mp4", host=host)


def test_a_host_that_no_name_server_has_is_unknown() -> None:
    settings = SourceSettings(url="http://℀/x.mp4")
    assert not settings.is_live
    with pytest.raises(SourceError, match="the host name '℀' is unknown"):
        check_present(settings)
