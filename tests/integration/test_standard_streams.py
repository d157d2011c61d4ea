"""Standard streams that are closed, full or have no reader: no traceback, one exit code each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
from support.leftovers import Place
from support.pipeline_runs import until
from support.pipes import fill

from streamseg.client import Subscriber

FULL = Path("/dev/full")
FULL_LINE = "streamseg: standard output cannot be written: No space left on device; free the disk\n"

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="needs the device /dev/full")


def command(
    redirection: str,
    *arguments: str,
    environment: Mapping[str, str] = MappingProxyType({}),
    cwd: Path | None = None,
    output: int = subprocess.PIPE,
) -> subprocess.CompletedProcess[str]:
    """Run `streamseg …` in a shell with a redirection."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "streamseg.cli", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("redirection", "arguments", "code", "errors"),
    [
        (">/dev/full", ("weights", "list"), 74, FULL_LINE),
        (">/dev/full", ("--help",), 74, FULL_LINE),
        (">&-", ("weights", "list"), 0, ""),
        ("<&- >&- 2>&-", ("weights", "list"), 0, ""),
        ("2>&-", ("weights", "nonsense"), 2, ""),
        ("2>/dev/full", ("weights", "nonsense"), 2, ""),
    ],
)
def test_a_stream_that_is_closed_or_full(redirection: str, arguments: tuple[str, ...], code: int, errors: str) -> None:
    done = command(redirection, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", errors)


@pytest.mark.parametrize("arguments", [("weights", "list"), ("--help",)])
def test_a_reader_that_ends_first_ends_the_command_quietly(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = command("", *arguments, output=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_what_an_encoding_lacks_is_escaped(tmp_path: Path) -> None:
    done = command(
        "", "weights", "list", environment={"PYTHONIOENCODING": "latin-1", "STREAMSEG_CACHE": str(tmp_path / "日本")}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("/\\u65e5\\u672c\n")


MODELS = ("--detector", "motion", "--segmenter", "nano", "--set", "publish.bind=tcp://127.0.0.1:*")
RUN = ("run", *MODELS, "--jsonl", "-", "--source")
LIVE = (*MODELS, "--source", "synthetic:?size=320x240&frames=0")


def test_a_run_without_a_log_prints_every_record(place: Place) -> None:
    done = command("2>&-", *RUN, "synthetic:?size=320x240&frames=5", cwd=place.folder, environment=place.environment)
    assert done.returncode == 0
    assert [msgspec.json.decode(line)["seq"] for line in done.stdout.splitlines()] == ["0", "1", "2", "3", "4"]


def test_a_live_run_outlives_a_full_log_and_ends_with_the_reader_of_its_records(place: Place) -> None:
    started = f"{sys.executable} -m streamseg.cli {' '.join(RUN)} 'synthetic:?size=320x240' 2>/dev/full"
    done = subprocess.run(
        ["bash", "-c", f"{started} | head -n 3 >&2; exit ${{PIPESTATUS[0]}}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=place.folder,
        env={**os.environ, **place.environment},
    )
    assert done.returncode == 141
    assert len([msgspec.json.decode(line) for line in done.stderr.splitlines()]) == 3


def test_a_log_that_nobody_reads_stops_neither_supervision_nor_signals(place: Place) -> None:
    with place.run("run", *LIVE, "--verbose", "--jsonl", "out.jsonl") as run:
        records = place.folder / "out.jsonl"
        until(lambda: records.exists() and records.stat().st_size, 60, "frames")
        fill(run.process.pid, 2)
        dead = run.stages()["detect"]
        dead.kill()
        until(lambda: (new := run.stages().get("detect")) and new.pid != dead.pid, 60, "a new detect")
        before = records.stat().st_size
        until(lambda: records.stat().st_size > before, 60, "more frames")
        run.process.send_signal(signal.SIGTERM)
        assert run.process.wait(20) == 143


def test_a_second_signal_ends_a_run_whose_records_nobody_reads(place: Place) -> None:
    with place.run("run", *LIVE, "--jsonl", "-") as run:
        fill(run.process.pid, 1)
        assert run.process.stderr is not None
        endpoint = run.process.stderr.readline().removeprefix("publishing on ").strip()
        with Subscriber(endpoint, timeout=60) as subscriber:
            assert any(result.seq > 5 for result in subscriber)
        run.process.send_signal(signal.SIGTERM)
        until(lambda: not run.stages(), 20, "the end of the stages")
        run.process.send_signal(signal.SIGTERM)
        assert run.process.wait(20) == 143
