from __future__ import annotations

import hashlib
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.file_server import FileServer, serve

from streamseg.errors import WeightsError, WeightsUnavailableError
from streamseg.models import catalogue, download, weights
from streamseg.models.catalogue import CATALOGUE, Weights

CONTENT = bytes(range(256)) * 1024
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with serve(CONTENT) as state:
        know(monkeypatch, state.url)
        yield state


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "_PAUSE_S", 0.01)
    know(monkeypatch, "http://127.0.0.1:1")
    return tmp_path / "cache"


def know(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Make two files at `address` the whole catalogue."""
    tiny = Weights(
        name="tiny", filename="tiny.bin", url=f"{address}/tiny.bin", size=len(CONTENT), sha256=HASH, alias="t.pt"
    )
    unsized = Weights(name="unsized", filename="unsized.bin", url=f"{address}/unsized.bin", sha256=HASH)
    monkeypatch.setattr(catalogue, "CATALOGUE", (tiny, unsized))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_downloads_once_and_reports_progress(server: FileServer, cache: Path) -> None:
    steps: list[weights.WeightsProgress] = []
    path = weights.resolve("tiny", progress=steps.append)
    assert path == cache / "tiny.bin"
    assert path.read_bytes() == CONTENT
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1] == weights.WeightsProgress("tiny", len(CONTENT), len(CONTENT), host=urlsplit(server.url).netloc)
    assert weights.resolve("tiny", offline=True) == path
    assert weights.verify("tiny") == path
    assert [request.path for request in server.requests] == ["/tiny.bin"]
    assert files(cache) == ["tiny.bin"]


@pytest.mark.parametrize("fault", ["none", "unsized"])
def test_a_file_of_unknown_size(server: FileServer, fault: str) -> None:
    server.faults = [fault]
    steps: list[weights.WeightsProgress] = []
    assert weights.resolve("unsized", progress=steps.append).read_bytes() == CONTENT
    total = len(CONTENT) if fault == "none" else None
    assert steps[-1] == weights.WeightsProgress("unsized", len(CONTENT), total, host=urlsplit(server.url).netloc)


def test_the_users_hash_replaces_the_published_one(server: FileServer) -> None:
    server.content = CONTENT[1:]
    sha256 = hashlib.sha256(server.content).hexdigest()
    path = weights.resolve("tiny", sha256=sha256.upper())
    assert path.read_bytes() == server.content
    assert weights.resolve("tiny", sha256=sha256, offline=True) == path
    with pytest.raises(
        WeightsUnavailableError, match=f"is not the one: .*{len(CONTENT) - 1} bytes instead of {len(CONTENT)}"
    ):
        weights.resolve("tiny", offline=True)


def test_a_wrong_file_is_refused_and_removed(server: FileServer, cache: Path) -> None:
    server.faults = ["wrong"]
    with pytest.raises(WeightsError, match=r"^[^\n]*SHA-256 is [0-9a-f]{64} instead of " + HASH) as caught:
        weights.resolve("tiny")
    assert not isinstance(caught.value, WeightsUnavailableError)
    assert files(cache) == []
    assert len(server.requests) == 1


def test_a_damaged_file_in_the_cache_is_replaced(server: FileServer, cache: Path) -> None:
    cache.mkdir()
    for damaged in (CONTENT[:-1], CONTENT[:-1] + b"?"):
        (cache / "tiny.bin").write_bytes(damaged)
        with pytest.raises(WeightsError, match="damaged"):
            weights.verify("tiny")
        with pytest.raises(WeightsUnavailableError, match=r"the file tiny\.bin in the cache is not the one: it"):
            weights.resolve("tiny", offline=True)
        assert weights.resolve("tiny").read_bytes() == CONTENT


@pytest.mark.parametrize(("fault", "requests"), [(404, 1), (503, 1), ("mute", 1), ("cut", 4), ("stall", 4)])
def test_a_server_that_does_not_deliver(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch, fault: str | int, requests: int
) -> None:
    monkeypatch.setattr(download, "_TIMEOUT_S", (3, 0.3))
    server.ranges = False
    server.faults = [fault] * 10
    start = time.monotonic()
    with pytest.raises(WeightsUnavailableError) as caught:
        weights.resolve("tiny")
    message = str(caught.value)
    assert "\n" not in message
    assert f"{server.url}/tiny.bin" in message and str(cache / "tiny.bin") in message
    assert bool(re.search(rf"answered {fault}\b", message)) == isinstance(fault, int)
    assert not (cache / "tiny.bin").exists()
    assert len(server.requests) == requests
    assert time.monotonic() - start < 5


def test_an_absent_server_fails_at_once(cache: Path) -> None:
    start = time.monotonic()
    with pytest.raises(WeightsUnavailableError, match="the connection failed"):
        weights.resolve("tiny")
    assert time.monotonic() - start < 5
    assert files(cache) == []


def test_a_name_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()

    def hang(*_: object, **__: object) -> None:
        end.wait(30)
        raise socket.gaierror("no answer")

    know(monkeypatch, "http://nowhere.invalid")
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(download, "_RESPONSE_S", 0.3)
    try:
        with pytest.raises(WeightsUnavailableError, match="did not answer in time"):
            weights.resolve("tiny")
    finally:
        end.set()
        for thread in threading.enumerate():
            if thread.name == "weights-request":
                thread.join(10)


def test_without_a_network_it_fails_within_ten_seconds() -> None:
    assert download._RESPONSE_S < 10
    assert download._TIMEOUT_S[0] <= 3
    assert download._TIMEOUT_S[1] <= 5


def test_the_users_own_file_is_used_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own.bin"
    own.write_bytes(b"mine")
    assert weights.resolve("tiny", path=own) == own
    assert weights.locate(str(own)) == own
    with pytest.raises(WeightsError, match=r"missing\.bin"):
        weights.resolve("tiny", path=tmp_path / "missing.bin")
    with pytest.raises(WeightsError, match="not a file"):
        weights.resolve("tiny", path=tmp_path)


@pytest.mark.parametrize("model", ["tiny", "tiny.bin", "t.pt"])
@pytest.mark.usefixtures("server")
def test_every_name_of_a_model(cache: Path, model: str) -> None:
    steps: list[weights.WeightsProgress] = []
    assert weights.locate(model, progress=steps.append) == cache / "tiny.bin"
    assert steps[-1].name == "tiny"
    assert weights.resolve(model, offline=True) == weights.verify(model) == cache / "tiny.bin"


def test_an_existing_file_takes_precedence_over_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.bin").write_bytes(b"mine")
    assert weights.locate("tiny.bin") == Path("tiny.bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.locate("~/tiny.bin") == tmp_path / "tiny.bin"


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("models/sam.pt", "does not exist"),
        ("sam.pt", "does not exist"),
        ("nonsense", "no weights are known as 'nonsense'"),
        (".", "is a folder"),
    ],
)
def test_neither_a_file_nor_known(model: str, problem: str) -> None:
    with pytest.raises(
        WeightsError, match=rf"^[^\n]*{re.escape(problem)}; .* one of tiny \(tiny\.bin\), unsized \(unsized\.bin\)$"
    ):
        weights.locate(model)


def test_a_path_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read: File name too long"):
        weights.locate("n" * 300)
    with pytest.raises(WeightsError, match="cannot be read: File name too long"):
        weights.resolve("tiny", path=tmp_path / ("n" * 300))


def test_an_inaccessible_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / ("n" * 300)))
    for call in (weights.weights_directory, lambda: weights.verify("tiny"), lambda: weights.resolve("tiny")):
        with pytest.raises(WeightsError, match="cannot be read: File name too long; set STREAMSEG_CACHE"):
            call()


def test_unknown_and_absent_names(cache: Path) -> None:
    with pytest.raises(WeightsError, match="'nonsense'; expected one of tiny"):
        weights.resolve("nonsense")
    with pytest.raises(WeightsError, match="streamseg weights fetch tiny"):
        weights.verify("tiny")
    assert not cache.exists()


@pytest.mark.usefixtures("server")
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    monkeypatch.setenv("STREAMSEG_CACHE", str(blocker / "cache"))
    with pytest.raises(WeightsError, match="STREAMSEG_CACHE"):
        weights.resolve("tiny")


def test_the_cache_is_the_users_unless_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STREAMSEG_CACHE", "~/elsewhere")
    assert weights.weights_directory() == Path.home() / "elsewhere"
    monkeypatch.delenv("STREAMSEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert weights.weights_directory() == tmp_path / "streamseg"


def test_the_catalogue_names_each_model_once() -> None:
    names = [item.name for item in CATALOGUE]
    assert names[:4] == ["mobilesam", "sam-vit-b", "sam-vit-l", "sam-vit-h"]
    assert names[4:] == ["yolox-nano", "yolox-tiny", "yolox-s", "yolox-m", "yolox-l", "yolox-x"]
    every = [name for item in CATALOGUE for name in (item.name, item.filename, item.alias) if name is not None]
    assert len(set(every)) == len(every)
    assert all(item.url.startswith("https://") and item.url.endswith(f"/{item.filename}") for item in CATALOGUE)
    assert all(re.fullmatch(r"[0-9a-f]{64}", item.sha256) for item in CATALOGUE)
    assert len({item.sha256 for item in CATALOGUE}) == len(CATALOGUE)
    assert {item.alias for item in CATALOGUE} == {None, "sam_b.pt", "sam_l.pt", "sam_h.pt"}
