"""Downloads that break off, and go on."""

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
from streamseg.models import download, weights
from streamseg.models.catalogue import Weights

CONTENT = bytes(range(256)) * 1024
HALF = len(CONTENT) // 2
HASH = hashlib.sha256(CONTENT).hexdigest()
OTHER = CONTENT[::-1]
PROGRAM = """
import sys
from streamseg.models import weights
told = lambda progress: progress.elsewhere and print("waiting", progress.done, flush=True)
print(weights.resolve("yolox-s", sha256=sys.argv[1], base_url=sys.argv[2], progress=told), flush=True)
"""


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve(CONTENT) as state:
        yield state


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "cache"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(download, "_PAUSE_S", 0.01)
    know(monkeypatch, CONTENT)
    return tmp_path / "cache"


def know(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    known = Weights(
        name="tiny", filename="tiny.bin", url="http://127.0.0.1:1/tiny.bin", size=len(content), sha256=sha256
    )
    monkeypatch.setattr(weights, "CATALOGUE", (known,))


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def ranges(server: FileServer) -> list[str | None]:
    return [asked.range for asked in server.asked]


def break_off(server: FileServer, cache: Path) -> None:
    """One call that has half of the file in the end."""
    server.faults = ["cut", 503, 503, 503]
    with pytest.raises(WeightsUnavailableError, match=r"said 503 .* after 0\.1 MB, which are kept"):
        weights.resolve("tiny", base_url=server.url)
    assert contents(cache) == ["tiny.bin.part", "tiny.bin.part.json"]
    server.asked.clear()


@pytest.mark.parametrize("fault", ["cut", "stall", "unsized cut"])
def test_a_connection_that_breaks_is_gone_on_with(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(download, "_READ_S", 0.3)
    server.faults = [fault, 503]
    steps: list[weights.Progress] = []
    path = weights.resolve("tiny", base_url=server.url, progress=steps.append)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [None, f"bytes={HALF}-", f"bytes={HALF}-"]
    assert [asked.if_range for asked in server.asked] == [None, '"one"', '"one"']
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert contents(cache) == ["tiny.bin"]


def test_each_piece_that_brings_something_new_earns_another_try(server: FileServer) -> None:
    content = CONTENT * 64
    server.content = content
    server.faults = ["cut"] * 6
    assert (
        weights.resolve("tiny", sha256=hashlib.sha256(content).hexdigest(), base_url=server.url).read_bytes() == content
    )
    assert len(server.asked) == 7


def test_the_next_call_goes_on_where_the_last_one_stopped(server: FileServer, cache: Path) -> None:
    break_off(server, cache)
    assert weights.resolve("tiny", base_url=server.url).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={HALF}-"]
    assert contents(cache) == ["tiny.bin"]


def test_pieces_of_another_address_are_not_used(server: FileServer, cache: Path) -> None:
    break_off(server, cache)
    weights.resolve("tiny", base_url=f"{server.url}/mirror")
    assert ranges(server) == [None]


@pytest.mark.parametrize("record", [None, b"", b'{"url": 1}'])
def test_pieces_of_unknown_origin_are_not_used(server: FileServer, cache: Path, record: bytes | None) -> None:
    cache.mkdir()
    (cache / "tiny.bin.part").write_bytes(OTHER[:HALF])
    if record is not None:
        (cache / "tiny.bin.part.json").write_bytes(record)
    assert weights.resolve("tiny", base_url=server.url).read_bytes() == CONTENT
    assert ranges(server) == [None]


def test_a_file_that_changed_meanwhile_is_begun_anew(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_off(server, cache)
    know(monkeypatch, OTHER)
    server.content, server.etag = OTHER, '"two"'
    assert weights.resolve("tiny", base_url=server.url).read_bytes() == OTHER
    assert [(asked.range, asked.if_range) for asked in server.asked] == [(f"bytes={HALF}-", '"one"')]


@pytest.mark.parametrize("etag", [None, 'W/"one"'])
def test_a_file_that_changed_without_a_word_is_fetched_afresh_once(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch, etag: str | None
) -> None:
    server.etag = etag
    break_off(server, cache)
    know(monkeypatch, OTHER)
    server.content = OTHER
    assert weights.resolve("tiny", base_url=server.url).read_bytes() == OTHER
    assert [(asked.range, asked.if_range) for asked in server.asked] == [(f"bytes={HALF}-", None), (None, None)]


def test_wrong_bytes_are_not_fetched_again_and_again(server: FileServer, cache: Path) -> None:
    break_off(server, cache)
    server.content = OTHER
    with pytest.raises(WeightsError, match="SHA-256 is"):
        weights.resolve("tiny", base_url=server.url)
    assert ranges(server) == [f"bytes={HALF}-", None]
    assert contents(cache) == []
    server.asked.clear()
    with pytest.raises(WeightsError, match="SHA-256 is"):
        weights.resolve("tiny", base_url=server.url)
    assert ranges(server) == [None]


@pytest.mark.parametrize("fault", ["astray", 416])
def test_an_answer_that_does_not_fit_is_asked_for_anew(server: FileServer, cache: Path, fault: str | int) -> None:
    break_off(server, cache)
    server.faults = [fault]
    assert weights.resolve("tiny", base_url=server.url).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={HALF}-", None]


def test_a_piece_that_was_not_asked_for(server: FileServer) -> None:
    server.faults = ["astray"]
    with pytest.raises(WeightsUnavailableError, match="a piece that was not asked for"):
        weights.resolve("tiny", base_url=server.url)


def test_a_server_without_ranges_begins_anew(server: FileServer) -> None:
    server.ranges = False
    server.faults = ["cut", "cut"]
    assert weights.resolve("tiny", base_url=server.url).read_bytes() == CONTENT
    assert ranges(server) == [None, f"bytes={HALF}-", f"bytes={HALF}-"]


def test_it_is_given_up_where_nothing_new_comes(server: FileServer, cache: Path) -> None:
    server.ranges = False
    server.faults = ["cut"] * 20
    with pytest.raises(
        WeightsUnavailableError, match=r"broke off after 0\.1 MB, which are kept; download http"
    ) as caught:
        weights.resolve("tiny", base_url=server.url)
    assert str(cache / "tiny.bin") in str(caught.value)
    assert len(server.asked) == 4


def test_a_file_of_another_size_is_refused_before_it_is_fetched(server: FileServer, cache: Path) -> None:
    server.faults = ["short"]
    with pytest.raises(WeightsError, match=f"has {len(CONTENT) - 1} bytes instead of {len(CONTENT)}"):
        weights.resolve("tiny", base_url=server.url)
    assert contents(cache) == []


def test_all_pieces_are_here_already(server: FileServer, cache: Path) -> None:
    break_off(server, cache)
    (cache / "tiny.bin.part").write_bytes(CONTENT)
    assert weights.resolve("tiny", base_url=server.url).read_bytes() == CONTENT
    assert server.asked == []


def test_damaged_pieces_are_fetched_afresh(server: FileServer, cache: Path) -> None:
    for damaged in (OTHER, OTHER + b"?"):
        break_off(server, cache)
        (cache / "tiny.bin.part").write_bytes(damaged)
        weights.resolve("tiny", base_url=server.url).unlink()
        assert ranges(server) == [None]


def test_a_slow_server_is_waited_for(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_READ_S", 0.5)
    know(monkeypatch, CONTENT[:5000])
    server.content = CONTENT[:5000]
    server.faults = ["trickle"]
    began = time.monotonic()
    weights.resolve("tiny", base_url=server.url)
    assert time.monotonic() - began > 0.5
    assert ranges(server) == [None]


def test_a_trickle_below_the_least_rate_is_a_stall(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert download._LEAST_RATE <= 1000
    assert download._RATE_S >= 30
    monkeypatch.setattr(download, "_LEAST_RATE", 50_000)
    monkeypatch.setattr(download, "_RATE_S", 0.3)
    server.faults = ["trickle"]
    began = time.monotonic()
    assert weights.resolve("tiny", base_url=server.url).read_bytes() == CONTENT
    assert time.monotonic() - began < 5
    assert len(server.asked) == 2


def test_a_full_disk(server: FileServer, cache: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, hard))
    try:
        with pytest.raises(
            WeightsError, match=r"^[^\n]*cannot be written: .*make room, or set STREAMSEG_CACHE$"
        ) as caught:
            weights.resolve("tiny", base_url=server.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not isinstance(caught.value, WeightsUnavailableError)
    server.asked.clear()
    weights.resolve("tiny", base_url=server.url)
    assert ranges(server) == [f"bytes={HALF}-"]


def test_a_cache_for_reading_only(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not below `tmp_path`, which is closed to other users: root may write anywhere, and has to become one.
    with TemporaryDirectory() as folder:
        cache = Path(folder)
        monkeypatch.setenv("STREAMSEG_CACHE", folder)
        weights.resolve("tiny", base_url=server.url)
        (cache / "tiny.bin.lock").unlink(missing_ok=True)
        cache.chmod(0o555)
        with not_as_root():
            assert weights.resolve("tiny", base_url=server.url) == cache / "tiny.bin"
            with pytest.raises(WeightsError, match=r"cannot be written: Permission denied; .* set STREAMSEG_CACHE"):
                weights.resolve("tiny", sha256="0" * 64, base_url=server.url)
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


def test_a_folder_in_place_of_the_file(server: FileServer, cache: Path) -> None:
    (cache / "tiny.bin").mkdir(parents=True)
    with pytest.raises(WeightsError, match=r"tiny\.bin is a folder"):
        weights.resolve("tiny", base_url=server.url)
    assert server.asked == []


class TestProcesses:
    """Several processes, and what becomes of a download when one of them is killed."""

    @pytest.fixture
    def start(self, server: FileServer) -> Iterator[Callable[[], subprocess.Popen[str]]]:
        processes = []

        def start() -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, HASH, server.url], stdout=subprocess.PIPE, text=True
            )
            processes.append(process)
            return process

        yield start
        for process in processes:
            process.kill()
            process.communicate()

    def wait_for_half(self, cache: Path) -> None:
        part = cache / "yolox_s.onnx.part"
        deadline = time.monotonic() + 30
        while not part.is_file() or part.stat().st_size < HALF:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def test_two_at_once_fetch_once(
        self, server: FileServer, cache: Path, start: Callable[[], subprocess.Popen[str]]
    ) -> None:
        processes = [start(), start()]
        printed = [process.communicate(timeout=60)[0].splitlines()[-1] for process in processes]
        assert printed == [str(cache / "yolox_s.onnx")] * 2
        assert len(server.asked) == 1

    def test_killed_and_run_again(
        self, server: FileServer, cache: Path, start: Callable[[], subprocess.Popen[str]]
    ) -> None:
        server.faults = ["stall"]
        first = start()
        self.wait_for_half(cache)
        first.send_signal(signal.SIGKILL)
        assert first.wait(10) == -signal.SIGKILL
        assert start().communicate(timeout=60)[0].strip() == str(cache / "yolox_s.onnx")
        assert (cache / "yolox_s.onnx").read_bytes() == CONTENT
        assert ranges(server) == [None, f"bytes={HALF}-"]

    def test_the_one_that_waits_says_so_and_takes_over(
        self, server: FileServer, cache: Path, start: Callable[[], subprocess.Popen[str]]
    ) -> None:
        server.faults = ["stall"]
        first = start()
        self.wait_for_half(cache)
        second = start()
        assert second.stdout is not None
        assert second.stdout.readline() == f"waiting {HALF}\n"
        first.send_signal(signal.SIGKILL)
        assert second.communicate(timeout=60)[0].splitlines()[-1] == str(cache / "yolox_s.onnx")
        assert (cache / "yolox_s.onnx").read_bytes() == CONTENT
        assert ranges(server) == [None, f"bytes={HALF}-"]


class TestProxies:
    """The proxies of the environment; the server plays the proxy, too."""

    @pytest.fixture(autouse=True)
    def proxy(self, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> str:
        address = server.url.replace("//", "//user:secret@")
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, address)
        return address

    def failure(self, base_url: str) -> str:
        with pytest.raises(WeightsUnavailableError) as caught:
            weights.resolve("tiny", base_url=base_url)
        assert "secret" not in "".join(traceback.format_exception(caught.value))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_it_is_asked_with_its_password(self, server: FileServer) -> None:
        assert weights.resolve("tiny", base_url="http://weights.invalid").read_bytes() == CONTENT
        assert [(asked.path, asked.credentials) for asked in server.asked] == [
            ("http://weights.invalid/tiny.bin", "Basic dXNlcjpzZWNyZXQ=")
        ]

    def test_it_is_not_asked_where_no_proxy_says_so(self, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        weights.resolve("tiny", base_url=server.url)
        assert [(asked.path, asked.credentials) for asked in server.asked] == [("/tiny.bin", None)]

    def test_a_broken_download_goes_on_through_it(self, server: FileServer) -> None:
        server.faults = ["cut"]
        assert weights.resolve("tiny", base_url="http://weights.invalid").read_bytes() == CONTENT
        assert ranges(server) == [None, f"bytes={HALF}-"]

    @pytest.mark.parametrize("status", [407, 502])
    def test_one_that_refuses(self, server: FileServer, status: int) -> None:
        server.faults = [status, status]
        assert f"the server, or the proxy before it, said {status}" in self.failure("http://weights.invalid")
        assert f"the proxy refused: {status}" in self.failure("https://weights.invalid")
        assert server.asked[-1].path == "weights.invalid:443"

    def test_one_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:1")
        assert "the proxy could not be reached" in self.failure("https://weights.invalid")

    @pytest.mark.parametrize(
        "address",
        [
            "http://user:secret@127.0.0.1:port",
            "http://user:secret/@127.0.0.1:1",
            "http://user:secret@",
            "user:secret@127.0.0.1:1",
        ],
    )
    def test_one_whose_address_cannot_be_used(self, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
        monkeypatch.setenv("HTTPS_PROXY", address)
        monkeypatch.setenv("HTTP_PROXY", address)
        for scheme in ("http", "https"):
            assert (
                "that of the proxy (HTTPS_PROXY, HTTP_PROXY; SOCKS needs the package PySocks), cannot be used"
                in self.failure(f"{scheme}://weights.invalid")
            )


def test_the_password_of_a_mirror_is_neither_shown_nor_stored(server: FileServer, cache: Path) -> None:
    mirror = server.url.replace("//", "//user:p@ss@")
    server.faults = ["cut", 503, 503, 503]
    with pytest.raises(WeightsUnavailableError) as caught:
        weights.resolve("tiny", base_url=mirror)
    assert "p@ss" not in "".join(traceback.format_exception(caught.value))
    assert "p@ss" not in (cache / "tiny.bin.part.json").read_text()
    assert f"{server.url}/tiny.bin" in str(caught.value)
