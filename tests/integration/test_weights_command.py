from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from support.file_server import FileServer, serve
from typer.testing import CliRunner, Result

from streamseg.cli.weights import weights_app
from streamseg.errors import UsageError, WeightsError
from streamseg.models import catalogue, download
from streamseg.models.catalogue import Weights
from streamseg.models.weights import WeightsProgress
from streamseg.monitor.progress import DownloadDisplay

CONTENT = bytes(range(256)) * 1024


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve(CONTENT) as state:
        yield state


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "_PAUSE_S", 0.01)
    return tmp_path / "cache"


@pytest.fixture
def three(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of three models on the server."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setattr(
        catalogue,
        "CATALOGUE",
        tuple(
            Weights(name=name, filename=f"{name}.bin", url=f"{server.url}/{name}.bin", sha256=sha256, size=len(CONTENT))
            for name in ("one", "two", "three")
        ),
    )


def weights_command(*arguments: str) -> Result:
    return CliRunner().invoke(weights_app, arguments)


def streamseg(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streamseg.cli", "weights", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | environment, check=False
    )


def states() -> dict[str, str]:
    rows = weights_command("list").output.splitlines()[1:]
    return {row.split()[0]: row.partition("Apache-2.0")[2].strip() for row in rows if "Apache-2.0" in row}


@pytest.mark.usefixtures("three")
def test_fetch_list_and_verify(server: FileServer, cache: Path) -> None:
    assert states() == dict.fromkeys(("one", "two", "three"), "not fetched")
    assert weights_command("verify").output.startswith("no weights are fetched yet")

    fetched = weights_command("fetch", "one", "two.bin")
    assert fetched.exit_code == 0, fetched.output
    assert f"one: {cache / 'one.bin'}\n" in fetched.output and f"two: {cache / 'two.bin'}\n" in fetched.output
    server.faults = ["cut", 503, 503, 503]
    assert isinstance(weights_command("fetch", "three").exception, WeightsError)
    assert states() == {"one": "fetched", "two": "fetched", "three": "partly fetched (50%)"}
    assert weights_command("verify").output == "".join(
        f"{name}: {cache / name}.bin is intact\n" for name in ("one", "two")
    )

    weights_command("fetch", "three")
    assert server.requests[-1].range == f"bytes={len(CONTENT) // 2}-"
    assert states()["three"] == "fetched"


@pytest.mark.usefixtures("three")
def test_all_are_verified_before_it_fails(cache: Path) -> None:
    weights_command("fetch", "one", "two", "three")
    (cache / "one.bin").write_bytes(CONTENT[::-1])
    (cache / "two.bin").write_bytes(CONTENT[1:])
    assert states() == {"one": "fetched", "two": "damaged (262.1 kB), fetch it again", "three": "fetched"}
    verified = weights_command("verify")
    assert [line.split(":")[0] for line in verified.output.splitlines()] == ["one", "two", "three"]
    assert [("damaged" in line) for line in verified.output.splitlines()] == [True, True, False]
    assert isinstance(verified.exception, WeightsError)
    assert str(verified.exception) == "2 of 3 failed: run `streamseg weights fetch one two`"
    assert weights_command("verify", "three.bin").exit_code == 0
    (cache / "three.bin").unlink()
    assert isinstance(weights_command("verify", "three").exception, WeightsError)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("arguments", [("one", "two", "--sha256", "0" * 64), ("one", "--sha256", "abc")])
def test_a_hash_belongs_to_one_file(server: FileServer, arguments: tuple[str, ...]) -> None:
    assert isinstance(weights_command("fetch", *arguments).exception, UsageError)
    assert server.requests == []


@pytest.mark.usefixtures("three")
def test_an_unknown_name_fails_before_anything_is_fetched(server: FileServer) -> None:
    assert isinstance(weights_command("fetch", "one", "four").exception, WeightsError)
    assert server.requests == []


def test_waiting_for_another_process_is_shown() -> None:
    shown = StringIO()
    with DownloadDisplay(Console(file=shown)) as display:
        for progress in (
            WeightsProgress("one", 10, 100, "waiting for another process to fetch"),
            WeightsProgress("one", 20, 100, "waiting for another process to fetch"),
            WeightsProgress("one", 30, 100, host="example.org"),
        ):
            display.update(progress)
    assert shown.getvalue() == "waiting for another process to fetch one\nfetching one from example.org\n"


def test_the_real_catalogue(cache: Path) -> None:
    listed = streamseg("list")
    assert listed.returncode == 0
    assert max(map(len, listed.stdout.splitlines()[:-1])) <= 80
    assert "mobilesam   mobile_sam.pt           40.7 MB  Apache-2.0  not fetched\n" in listed.stdout
    assert "sam-vit-h   sam_vit_h_4b8939.pth    2.56 GB  Apache-2.0  not fetched\n" in listed.stdout
    assert listed.stdout.endswith(f"kept in {cache}\n")
    cache.mkdir()
    (cache / "yolox_nano.onnx").write_bytes(b"not this")
    verified = streamseg("verify")
    assert verified.returncode == 4
    assert verified.stdout.startswith("yolox-nano: ") and verified.stdout.count("\n") == 1
    assert verified.stderr == "streamseg: 1 of 1 failed: run `streamseg weights fetch yolox-nano`\n"


def test_a_proxy_that_refuses(server: FileServer) -> None:
    server.faults = [407]
    refused = streamseg("fetch", "mobile_sam.pt", HTTPS_PROXY=server.url.replace("//", "//user:secret@"))
    assert refused.returncode == 4
    assert len(refused.stderr.splitlines()) == 2, "what is fetched, and why it was not"
    assert "the proxy answered 407" in refused.stderr and "secret" not in refused.stderr + refused.stdout
    assert [request.path for request in server.requests] == ["raw.githubusercontent.com:443"]
    assert streamseg("fetch", "mobilesam", "--sha256", "1").returncode == 2


def test_help_names_the_environment_variables() -> None:
    for command in ((), ("fetch",), ("verify",), ("list",)):
        assert streamseg(*command, "--help").returncode == 0
    assert "STREAMSEG_CACHE" in streamseg("--help").stdout
    assert "HTTPS_PROXY" in streamseg("fetch", "--help").stdout
