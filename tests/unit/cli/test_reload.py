from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from streamseg.cli.reload import reload
from streamseg.errors import UsageError
from streamseg.ipc import listed_runs
from streamseg.ipc.listed_runs import ListedRun

HERE, THERE = ListedRun(11, "tcp://127.0.0.1:5555"), ListedRun(22, "ipc:///run/cameras")


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[int, int]]:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    monkeypatch.setattr(sys.modules["streamseg.cli.reload"], "runtime_directory", lambda: tmp_path)
    return sent


def runs(monkeypatch: pytest.MonkeyPatch, *found: ListedRun) -> None:
    monkeypatch.setattr(listed_runs, "listed_runs", lambda folder: list(found))


def test_the_only_run_needs_no_name(
    monkeypatch: pytest.MonkeyPatch, signals: list[tuple[int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    runs(monkeypatch, HERE)
    reload()
    assert signals == [(11, signal.SIGHUP)]
    assert capsys.readouterr().out.startswith("the run at tcp://127.0.0.1:5555 (process 11) reads its settings again")


def test_one_of_several_is_named_by_its_endpoint(
    monkeypatch: pytest.MonkeyPatch, signals: list[tuple[int, int]]
) -> None:
    runs(monkeypatch, HERE, THERE)
    reload("ipc:///run/cameras")
    assert signals == [(22, signal.SIGHUP)]
    with pytest.raises(UsageError, match=r"several runs; name one: tcp://127.0.0.1:5555 \(process 11\), ipc:"):
        reload()
    with pytest.raises(UsageError, match=r"tcp://10\.0\.0\.1:1: no run with a settings file publishes there"):
        reload("tcp://10.0.0.1:1")
    assert len(signals) == 1


def test_without_a_run_it_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, signals: list[tuple[int, int]]
) -> None:
    runs(monkeypatch)
    with pytest.raises(UsageError, match="start one with `streamseg run CONFIG`"):
        reload()
    assert signals == []
