from __future__ import annotations

import hashlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from streamseg.errors import WeightsError, WeightsUnavailableError
from streamseg.models import weights
from streamseg.models.catalogue import CATALOGUE, Weights

CONTENT = bytes(range(256)) * 1024
HASH = hashlib.sha256(CONTENT).hexdigest()
KNOWN = Weights(name="tiny", filename="tiny.bin", url="http://127.0.0.1:1/tiny.bin", size=len(CONTENT), sha256=HASH)
UNHASHED = Weights(name="unhashed", filename="unhashed.bin", url="http://127.0.0.1:1/unhashed.bin")


@dataclass
class Server:
    """A web server whose paths begin with what goes wrong: `/good/…`, `/wrong/…`, `/truncated/…` and so on."""

    url: str
    asked: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            behaviour = self.path.split("/")[1]
            if behaviour == "missing":
                self.send_error(404)
                return
            if behaviour == "mute":
                state.release.wait(30)
                return
            self.send_response(200)
            if behaviour != "unsized":
                self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            if behaviour in ("truncated", "stalled"):
                self.wfile.write(CONTENT[: len(CONTENT) // 2])
                self.wfile.flush()
                if behaviour == "stalled":
                    state.release.wait(30)
                return
            self.wfile.write(CONTENT[::-1] if behaviour == "wrong" else CONTENT)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Server(f"http://127.0.0.1:{http.server_address[1]}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield state
    state.release.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "CATALOGUE", (KNOWN, UNHASHED))
    return tmp_path / "cache"


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_downloads_once_and_reports_progress(server: Server, cache: Path) -> None:
    steps: list[weights.Progress] = []
    path = weights.resolve("tiny", progress=steps.append, base_url=f"{server.url}/good/")
    assert path == cache / "tiny.bin"
    assert path.read_bytes() == CONTENT
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1] == weights.Progress("tiny", len(CONTENT), len(CONTENT))
    assert weights.resolve("tiny", offline=True) == path
    assert weights.verify("tiny") == path
    assert server.asked == ["/good/tiny.bin"]
    assert contents(cache) == ["tiny.bin"]


def test_the_users_hash_allows_weights_without_a_published_one(server: Server) -> None:
    steps: list[weights.Progress] = []
    with pytest.raises(WeightsError, match="SHA-256 of unhashed was never established"):
        weights.resolve("unhashed", base_url=f"{server.url}/good")
    assert server.asked == []
    path = weights.resolve("unhashed", sha256=HASH.upper(), base_url=f"{server.url}/unsized", progress=steps.append)
    assert path.read_bytes() == CONTENT
    assert steps[-1] == weights.Progress("unhashed", len(CONTENT), None)
    assert weights.verify("unhashed", sha256=HASH) == path


def test_a_wrong_file_is_refused_and_removed(server: Server, cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"^[^\n]*SHA-256 is [0-9a-f]{64} instead of " + HASH) as caught:
        weights.resolve("tiny", base_url=f"{server.url}/wrong")
    assert not isinstance(caught.value, WeightsUnavailableError)
    assert contents(cache) == []


def test_a_damaged_file_in_the_cache_is_replaced(server: Server, cache: Path) -> None:
    cache.mkdir()
    for damaged in (CONTENT[:-1], CONTENT[:-1] + b"?"):
        (cache / "tiny.bin").write_bytes(damaged)
        with pytest.raises(WeightsError, match="damaged"):
            weights.verify("tiny")
        with pytest.raises(WeightsUnavailableError):
            weights.resolve("tiny", offline=True)
        assert weights.resolve("tiny", base_url=f"{server.url}/good").read_bytes() == CONTENT


@pytest.mark.parametrize("behaviour", ["missing", "truncated", "stalled", "mute"])
def test_a_server_that_does_not_deliver(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str) -> None:
    monkeypatch.setattr(weights, "_READ_S", 0.3)
    began = time.monotonic()
    with pytest.raises(WeightsUnavailableError) as caught:
        weights.resolve("tiny", base_url=f"{server.url}/{behaviour}")
    message = str(caught.value)
    assert "\n" not in message
    assert f"{server.url}/{behaviour}/tiny.bin" in message and str(cache / "tiny.bin") in message
    assert bool(re.search(r"\b404\b", message)) == (behaviour == "missing")
    assert contents(cache) == []
    assert server.asked == [f"/{behaviour}/tiny.bin"]
    assert time.monotonic() - began < 5


def test_no_server_fails_at_once(cache: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(WeightsUnavailableError, match="could not be reached"):
        weights.resolve("tiny", base_url=f"http://127.0.0.1:{port}")
    assert time.monotonic() - began < 5
    assert contents(cache) == []


def test_a_name_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def hang(*_: object, **__: object) -> None:
        answer.wait(30)
        raise socket.gaierror("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(weights, "_ANSWER_S", 0.3)
    try:
        with pytest.raises(WeightsUnavailableError, match="did not answer in time"):
            weights.resolve("tiny", base_url="http://nowhere.invalid")
    finally:
        answer.set()
        for thread in threading.enumerate():
            if thread.name == "weights":
                thread.join(10)


def test_without_a_network_it_is_over_within_ten_seconds() -> None:
    assert weights._ANSWER_S < 10
    assert weights._CONNECT_S <= 3
    assert weights._READ_S <= 5


def test_the_users_own_file_is_taken_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own.bin"
    own.write_bytes(b"mine")
    assert weights.resolve("tiny", path=own) == own
    with pytest.raises(WeightsError, match=r"missing\.bin"):
        weights.resolve("tiny", path=tmp_path / "missing.bin")
    with pytest.raises(WeightsError, match="not a file"):
        weights.resolve("tiny", path=tmp_path)


def test_unknown_and_absent_names(cache: Path) -> None:
    with pytest.raises(WeightsError, match="'nonsense'; expected one of tiny, unhashed"):
        weights.resolve("nonsense")
    with pytest.raises(WeightsError, match="streamseg weights fetch tiny"):
        weights.verify("tiny")
    assert not cache.exists()


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    monkeypatch.setenv("STREAMSEG_CACHE", str(blocker / "cache"))
    with pytest.raises(WeightsError, match="STREAMSEG_CACHE"):
        weights.resolve("tiny", base_url=f"{server.url}/good")


def test_two_processes_download_once(server: Server, cache: Path) -> None:
    program = (
        "import sys; from streamseg.models import weights; "
        f"print(weights.resolve('yolox-s', sha256={HASH!r}, base_url={server.url + '/good'!r}))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        printed = [process.communicate(timeout=60)[0].strip() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert printed == [str(cache / "yolox_s.onnx")] * 2
    assert server.asked == ["/good/yolox_s.onnx"]


def test_the_cache_is_the_users_unless_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STREAMSEG_CACHE", "~/elsewhere")
    assert weights.weights_directory() == Path.home() / "elsewhere"
    monkeypatch.delenv("STREAMSEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert weights.weights_directory() == tmp_path / "streamseg"


def test_the_catalogue_names_each_model_once() -> None:
    by_name = {item.name: item for item in CATALOGUE}
    assert list(by_name) == ["mobilesam", "yolox-nano", "yolox-tiny", "yolox-s", "yolox-m", "yolox-l", "yolox-x"]
    assert len({item.filename for item in CATALOGUE}) == len(CATALOGUE)
    assert all(item.url.startswith("https://") and item.url.endswith(f"/{item.filename}") for item in CATALOGUE)
    assert {item.name for item in CATALOGUE if item.sha256} == {"mobilesam", "yolox-nano", "yolox-tiny"}
    assert all(len(item.sha256) == 64 and item.size for item in CATALOGUE if item.sha256)
