"""Short runs of the benchmarks without data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import pytest
from typer.testing import CliRunner

from benchmarks import links
from benchmarks.__main__ import app
from benchmarks.links import LinkFigures, bench_links
from benchmarks.overlay import OverlayFigures, bench_overlay
from benchmarks.wire import WireFigures, bench_wire

SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def test_overlay() -> None:
    figures = bench_overlay(rounds=2)
    assert set(OverlayFigures.__struct_fields__) == {
        "masks", "overlay_ms", "supervision_ms", "supervision_dense_ms", "largest_difference",
    }  # fmt: skip
    assert figures.masks == 10
    assert min(figures.overlay_ms, figures.supervision_ms, figures.supervision_dense_ms) > 0
    assert 0 <= figures.largest_difference <= 2


def test_wire() -> None:
    figures = bench_wire(rounds=2, imports=1)
    assert set(WireFigures.__struct_fields__) == {
        "masks", "encode_ms", "decode_ms", "mask_bytes", "message_bytes", "import_ms",
    }  # fmt: skip
    assert figures.masks == 10
    assert min(figures.encode_ms, figures.decode_ms) > 0 and figures.import_ms > 1
    assert figures.mask_bytes < figures.message_bytes < 20_000


def test_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_WARM_UP", 2)
    figures = bench_links(frames=5)
    ways = ("pipeline", "picture", "queue", "zeromq")
    names = {f"{way}_p{percent}_ms" for way in ways for percent in (50, 99)}
    assert set(LinkFigures.__struct_fields__) == {"frames"} | names
    assert figures.frames == 5
    values = msgspec.structs.asdict(figures)
    assert all(0 < values[f"{way}_p50_ms"] <= values[f"{way}_p99_ms"] < 10_000 for way in ways)


def test_every_benchmark_has_a_line_of_help() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    for command in app.registered_commands:
        assert command.callback is not None and command.callback.__doc__ is not None
        assert command.callback.__doc__.splitlines()[0].rstrip(".") in shown


def test_a_wrong_name_gets_one_line() -> None:
    command = [sys.executable, "-m", "benchmarks", "nonsense"]
    run = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith("bench: No such command 'nonsense'; expected one of pipeline, cameras, links, wire,")
    assert run.stderr.count("\n") == 1
