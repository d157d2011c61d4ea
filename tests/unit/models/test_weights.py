from __future__ import annotations

import hashlib
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.file_server import FileServer, serve

from streamseg.errors import WeightsError, WeightsUnavailableError
from streamseg.models import download, weights
from streamseg.models.catalogue import CATALOGUE, Weights

CONTENT = bytes(range(256)) * 1024
HASH = hashlib.sha256(CONTENT).hexdigest()
KNOWN = Weights(
    name="tiny", filename="tiny.bin", url="http://127.0.0.1:1/tiny.bin", size=len(CONTENT), sha256=HASH, alias="t.pt"
)
UNSIZED = Weights(name="unsized", filename="unsized.bin", url="http://127.0.0.1:1/unsized.bin", sha256=HASH)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve(CONTENT) as state:
        yield state


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "_PAUSE_S", 0.01)
    monkeypatch.setattr(weights, "CATALOGUE", (KNOWN, UNSIZED))
    return tmp_path / "cache"


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_downloads_once_and_reports_progress(server: FileServer, cache: Path) -> None:
    steps: list[weights.Progress] = []
    path = weights.resolve("tiny", progress=steps.append, base_url=f"{server.url}/good/")
    assert path == cache / "tiny.bin"
    assert path.read_bytes() == CONTENT
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1] == weights.Progress("tiny", len(CONTENT), len(CONTENT))
    assert weights.resolve("tiny", offline=True) == path
    assert weights.verify("tiny") == path
    assert [asked.path for asked in server.asked] == ["/good/tiny.bin"]
    assert contents(cache) == ["tiny.bin"]


@pytest.mark.parametrize("fault", ["good", "unsized"])
def test_a_file_whose_size_is_not_known(server: FileServer, fault: str) -> None:
    server.faults = [fault]
    steps: list[weights.Progress] = []
    assert weights.resolve("unsized", base_url=server.url, progress=steps.append).read_bytes() == CONTENT
    assert steps[-1] == weights.Progress("unsized", len(CONTENT), len(CONTENT) if fault == "good" else None)


def test_the_users_hash_takes_the_place_of_the_known_one(server: FileServer) -> None:
    server.content = CONTENT[1:]
    sha256 = hashlib.sha256(server.content).hexdigest()
    path = weights.resolve("tiny", sha256=sha256.upper(), base_url=server.url)
    assert path.read_bytes() == server.content
    assert weights.resolve("tiny", sha256=sha256, offline=True) == path
    with pytest.raises(WeightsUnavailableError, match=f"damaged .*{len(CONTENT) - 1} bytes instead of {len(CONTENT)}"):
        weights.resolve("tiny", offline=True)


def test_a_wrong_file_is_refused_and_removed(server: FileServer, cache: Path) -> None:
    server.faults = ["wrong"]
    with pytest.raises(WeightsError, match=r"^[^\n]*SHA-256 is [0-9a-f]{64} instead of " + HASH) as caught:
        weights.resolve("tiny", base_url=server.url)
    assert not isinstance(caught.value, WeightsUnavailableError)
    assert contents(cache) == []
    assert len(server.asked) == 1


def test_a_damaged_file_in_the_cache_is_replaced(server: FileServer, cache: Path) -> None:
    cache.mkdir()
    for damaged in (CONTENT[:-1], CONTENT[:-1] + b"?"):
        (cache / "tiny.bin").write_bytes(damaged)
        with pytest.raises(WeightsError, match="damaged"):
            weights.verify("tiny")
        with pytest.raises(WeightsUnavailableError, match="what is in the cache is damaged"):
            weights.resolve("tiny", offline=True)
        assert weights.resolve("tiny", base_url=server.url).read_bytes() == CONTENT


@pytest.mark.parametrize(("fault", "requests"), [(404, 1), (503, 1), ("mute", 1), ("cut", 4), ("stall", 4)])
def test_a_server_that_does_not_deliver(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch, fault: str | int, requests: int
) -> None:
    monkeypatch.setattr(download, "_READ_S", 0.3)
    server.ranges = False
    server.faults = [fault] * 10
    began = time.monotonic()
    with pytest.raises(WeightsUnavailableError) as caught:
        weights.resolve("tiny", base_url=server.url)
    message = str(caught.value)
    assert "\n" not in message
    assert f"{server.url}/tiny.bin" in message and str(cache / "tiny.bin") in message
    assert bool(re.search(rf"said {fault}\b", message)) == isinstance(fault, int)
    assert not (cache / "tiny.bin").exists()
    assert len(server.asked) == requests
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
    monkeypatch.setattr(download, "_ANSWER_S", 0.3)
    try:
        with pytest.raises(WeightsUnavailableError, match="did not answer in time"):
            weights.resolve("tiny", base_url="http://nowhere.invalid")
    finally:
        answer.set()
        for thread in threading.enumerate():
            if thread.name == "weights":
                thread.join(10)


def test_without_a_network_it_is_over_within_ten_seconds() -> None:
    assert download._ANSWER_S < 10
    assert download._CONNECT_S <= 3
    assert download._READ_S <= 5


def test_the_users_own_file_is_taken_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own.bin"
    own.write_bytes(b"mine")
    assert weights.resolve("tiny", path=own) == own
    assert weights.locate(str(own)) == own
    with pytest.raises(WeightsError, match=r"missing\.bin"):
        weights.resolve("tiny", path=tmp_path / "missing.bin")
    with pytest.raises(WeightsError, match="not a file"):
        weights.resolve("tiny", path=tmp_path)


@pytest.mark.parametrize("model", ["tiny", "tiny.bin", "t.pt"])
def test_whatever_the_model_is_called(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    here = Weights(name="tiny", filename="tiny.bin", url=f"{server.url}/tiny.bin", sha256=HASH, alias="t.pt")
    monkeypatch.setattr(weights, "CATALOGUE", (UNSIZED, here))
    steps: list[weights.Progress] = []
    assert weights.locate(model, progress=steps.append) == cache / "tiny.bin"
    assert steps[-1].name == "tiny"
    assert weights.resolve(model, offline=True) == weights.verify(model) == cache / "tiny.bin"


def test_a_file_here_comes_before_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.bin").write_bytes(b"mine")
    assert weights.locate("tiny.bin") == Path("tiny.bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.locate("~/tiny.bin") == tmp_path / "tiny.bin"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("models/sam.pt", "is not here"),
        ("sam.pt", "is not here"),
        ("nonsense", "no weights are known as 'nonsense'"),
        (".", "is a folder"),
    ],
)
def test_what_is_neither_a_file_nor_known(model: str, said: str) -> None:
    with pytest.raises(
        WeightsError, match=rf"^[^\n]*{re.escape(said)}; .* one of tiny \(tiny\.bin\), unsized \(unsized\.bin\)$"
    ):
        weights.locate(model)


def test_a_path_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read: File name too long"):
        weights.locate("n" * 300)
    with pytest.raises(WeightsError, match="cannot be read: File name too long"):
        weights.resolve("tiny", path=tmp_path / ("n" * 300))


def test_a_cache_that_nobody_may_look_into(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


def test_a_cache_that_cannot_be_written(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    monkeypatch.setenv("STREAMSEG_CACHE", str(blocker / "cache"))
    with pytest.raises(WeightsError, match="STREAMSEG_CACHE"):
        weights.resolve("tiny", base_url=server.url)


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
