"""Broken downloads resume, also in another process, and every failure is one line."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.file_server import FileServer, serve

from streamseg.errors import WeightsError, WeightsUnavailableError
from streamseg.models import catalogue, download, weights
from streamseg.models.catalogue import Weights

CONTENT = bytes(range(256)) * 1024
HALF = len(CONTENT) // 2
HASH = hashlib.sha256(CONTENT).hexdigest()
PART = f"tiny.bin.{HASH[:8]}.part"
PROGRAM = """
import sys
from streamseg.models import catalogue, weights
tiny = catalogue.Weights(name="tiny", filename="tiny.bin", url=sys.argv[1], sha256=sys.argv[2])
catalogue.CATALOGUE = (tiny,)
report = lambda progress: progress.activity != "fetching" and print(progress.activity, progress.done, flush=True)
print(weights.resolve("tiny", progress=report), flush=True)
"""


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve(CONTENT) as state:
        yield state


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "cache"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(download, "_PAUSE_S", 0.01)
    know(monkeypatch, server.url, CONTENT)
    return tmp_path / "cache"


def know(monkeypatch: pytest.MonkeyPatch, address: str, content: bytes) -> None:
    """Make a file of that content at `address` the only one in the catalogue."""
    sha256 = hashlib.sha256(content).hexdigest()
    tiny = Weights(name="tiny", filename="tiny.bin", url=f"{address}/tiny.bin", size=len(content), sha256=sha256)
    monkeypatch.setattr(catalogue, "CATALOGUE", (tiny,))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def ranges(server: FileServer) -> list[str | None]:
    return [request.range for request in server.requests]


def break_half_way(server: FileServer, cache: Path) -> None:
    server.faults = ["cut", 503, 503, 503]
    with pytest.raises(WeightsUnavailableError, match=r"answered 503 .*; 0\.1 MB are kept, run again to resume\)"):
        weights.resolve("tiny")
    assert files(cache) == [PART]
    server.requests.clear()


@pytest.mark.parametrize("fault", ["cut", "stall", "unsized cut"])
def test_a_broken_connection_is_resumed(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(download, "_TIMEOUT_S", (3, 0.3))
    server.faults = [fault, 503]
    steps: list[weights.WeightsProgress] = []
    assert weights.resolve("tiny", progress=steps.append).read_bytes() == CONTENT
    assert ranges(server) == [None, f"bytes={HALF}-", f"bytes={HALF}-"]
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert {step.total for step in steps} == {len(CONTENT)}
    assert files(cache) == ["tiny.bin"]


def test_new_data_earns_new_attempts(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.content = CONTENT * 64
    know(monkeypatch, server.url, server.content)
    server.faults = ["cut"] * 6
    assert weights.resolve("tiny").read_bytes() == server.content
    assert len(server.requests) == 7


def test_the_next_call_resumes(server: FileServer, cache: Path) -> None:
    break_half_way(server, cache)
    assert weights.resolve("tiny").read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={HALF}-"]
    assert files(cache) == ["tiny.bin"]


def test_the_part_of_another_file_is_not_used(server: FileServer, cache: Path) -> None:
    break_half_way(server, cache)
    server.content = CONTENT[::-1]
    path = weights.resolve("tiny", sha256=hashlib.sha256(server.content).hexdigest())
    assert path.read_bytes() == server.content
    assert ranges(server) == [None]


def test_a_server_without_ranges_starts_over(server: FileServer) -> None:
    server.ranges = False
    server.faults = ["cut", "cut"]
    assert weights.resolve("tiny").read_bytes() == CONTENT
    assert ranges(server) == [None, f"bytes={HALF}-", f"bytes={HALF}-"]


def test_attempts_without_new_data_end(server: FileServer, cache: Path) -> None:
    server.ranges = False
    server.faults = ["cut"] * 20
    with pytest.raises(WeightsUnavailableError, match=r"broke; 0\.1 MB are kept, .* or download http") as caught:
        weights.resolve("tiny")
    assert str(cache / "tiny.bin") in str(caught.value)
    assert len(server.requests) == 4


def test_a_page_in_place_of_the_file_is_not_saved(server: FileServer, cache: Path) -> None:
    server.faults = ["short"]
    with pytest.raises(WeightsUnavailableError, match=f"file of {len(CONTENT) - 1} bytes instead of {len(CONTENT)}"):
        weights.resolve("tiny")
    assert files(cache) == []


def test_a_complete_part_needs_no_request(server: FileServer, cache: Path) -> None:
    cache.mkdir()
    (cache / PART).write_bytes(CONTENT)
    assert weights.resolve("tiny").read_bytes() == CONTENT
    assert server.requests == []


def test_a_part_that_is_too_long_is_replaced(server: FileServer, cache: Path) -> None:
    cache.mkdir()
    (cache / PART).write_bytes(CONTENT + b"?")
    assert weights.resolve("tiny").read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={len(CONTENT) + 1}-", None]


def test_a_damaged_part_is_removed(server: FileServer, cache: Path) -> None:
    cache.mkdir()
    (cache / PART).write_bytes(CONTENT[::-1][:HALF])
    with pytest.raises(WeightsError, match=r"is not the expected file: its SHA-256 is .*; run again"):
        weights.resolve("tiny")
    assert files(cache) == []
    assert weights.resolve("tiny").read_bytes() == CONTENT


def test_a_slow_server_is_awaited(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_TIMEOUT_S", (3, 0.5))
    server.content = CONTENT[:5000]
    know(monkeypatch, server.url, server.content)
    server.faults = ["trickle"]
    start = time.monotonic()
    weights.resolve("tiny")
    assert time.monotonic() - start > 0.5
    assert ranges(server) == [None]


def test_a_full_disk(server: FileServer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, hard))
    try:
        with pytest.raises(WeightsError, match=r"^[^\n]*cannot be written: .*make room, or set STREAM") as caught:
            weights.resolve("tiny")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not isinstance(caught.value, WeightsUnavailableError)
    server.requests.clear()
    weights.resolve("tiny")
    assert ranges(server) == [f"bytes={HALF}-"]


def test_a_read_only_cache(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not below `tmp_path`, which only its owner may enter: root may write anywhere, so the test changes the user.
    with TemporaryDirectory() as folder:
        cache = Path(folder)
        monkeypatch.setenv("STREAMSEG_CACHE", folder)
        weights.resolve("tiny")
        cache.chmod(0o555)
        with not_as_root():
            assert weights.resolve("tiny") == cache / "tiny.bin"
            with pytest.raises(WeightsError, match=r"cannot be written: Permission denied; .* set STREAMSEG_CACHE"):
                weights.resolve("tiny", sha256="0" * 64)
        cache.chmod(0o755)


@contextmanager
def not_as_root() -> Iterator[None]:
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


class TestProcesses:
    """Several processes, one of them killed."""

    @pytest.fixture
    def start(self, server: FileServer) -> Iterator[Callable[[], subprocess.Popen[str]]]:
        processes = []

        def start() -> subprocess.Popen[str]:
            command = [sys.executable, "-c", PROGRAM, f"{server.url}/tiny.bin", HASH]
            processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            return processes[-1]

        yield start
        for process in processes:
            process.kill()
            process.communicate()

    def wait_for_half(self, cache: Path) -> None:
        part = cache / PART
        deadline = time.monotonic() + 30
        while not part.is_file() or part.stat().st_size < HALF:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def test_two_at_once_fetch_once(
        self, server: FileServer, cache: Path, start: Callable[[], subprocess.Popen[str]]
    ) -> None:
        processes = [start(), start()]
        printed = [process.communicate(timeout=60)[0].splitlines()[-1] for process in processes]
        assert printed == [str(cache / "tiny.bin")] * 2
        assert len(server.requests) == 1

    def test_a_waiting_process_reports_that_and_resumes_the_download_of_a_killed_one(
        self, server: FileServer, cache: Path, start: Callable[[], subprocess.Popen[str]]
    ) -> None:
        server.faults = ["stall"]
        first = start()
        self.wait_for_half(cache)
        second = start()
        assert second.stdout is not None
        assert second.stdout.readline() == f"waiting for another process to fetch {HALF}\n"
        first.send_signal(signal.SIGKILL)
        assert second.communicate(timeout=60)[0].splitlines()[-1] == str(cache / "tiny.bin")
        assert (cache / "tiny.bin").read_bytes() == CONTENT
        assert ranges(server) == [None, f"bytes={HALF}-"]


class TestProxies:
    """Proxies from the environment; the server also plays the proxy."""

    @pytest.fixture(autouse=True)
    def proxy(self, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> str:
        address = server.url.replace("//", "//user:secret@")
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, address)
        know(monkeypatch, "http://weights.invalid", CONTENT)
        return address

    def failure(self) -> str:
        with pytest.raises(WeightsUnavailableError) as caught:
            weights.resolve("tiny")
        assert "secret" not in "".join(traceback.format_exception(caught.value))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_the_password_is_sent(self, server: FileServer) -> None:
        assert weights.resolve("tiny").read_bytes() == CONTENT
        assert [(request.path, request.credentials) for request in server.requests] == [
            ("http://weights.invalid/tiny.bin", "Basic dXNlcjpzZWNyZXQ=")
        ]

    def test_no_proxy_leaves_it_out(self, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        know(monkeypatch, server.url, CONTENT)
        weights.resolve("tiny")
        assert [(request.path, request.credentials) for request in server.requests] == [("/tiny.bin", None)]

    def test_a_broken_download_resumes_through_it(self, server: FileServer) -> None:
        server.faults = ["cut"]
        assert weights.resolve("tiny").read_bytes() == CONTENT
        assert ranges(server) == [None, f"bytes={HALF}-"]

    @pytest.mark.parametrize("status", [407, 502])
    def test_a_refusal(self, server: FileServer, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
        server.faults = [status, status]
        assert f"the server or a proxy answered {status}" in self.failure()
        know(monkeypatch, "https://weights.invalid", CONTENT)
        assert f"the proxy answered {status}" in self.failure()
        assert server.requests[-1].path == "weights.invalid:443"

    def test_an_absent_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:1")
        know(monkeypatch, "https://weights.invalid", CONTENT)
        assert "the proxy could not be reached" in self.failure()

    @pytest.mark.parametrize("scheme", ["http", "https"])
    @pytest.mark.parametrize(
        "address",
        [
            "http://user:secret@127.0.0.1:port",
            "http://user:secret/@127.0.0.1:1",
            "http://user:secret@",
            "user:secret@127.0.0.1:1",
        ],
    )
    def test_an_address_that_is_not_valid(self, monkeypatch: pytest.MonkeyPatch, scheme: str, address: str) -> None:
        monkeypatch.setenv("HTTPS_PROXY", address)
        monkeypatch.setenv("HTTP_PROXY", address)
        know(monkeypatch, f"{scheme}://weights.invalid", CONTENT)
        assert "the address of the proxy (HTTPS_PROXY, HTTP_PROXY) is not valid" in self.failure()
