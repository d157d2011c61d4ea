"""Runs a command that fails, in the process of the test."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import setproctitle

from streamseg import cli


def fail(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a command that must fail before it starts a process, and return its exit code."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process starts")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", sys.stdout)
        patch.setattr(sys, "stderr", sys.stderr)
        patch.setattr(sys, "argv", ["streamseg", *arguments])
        patch.setattr(signal, "signal", lambda number, act: None)
        patch.setattr(setproctitle, "setproctitle", lambda title: None)
        patch.setattr(subprocess, "Popen", refuse)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        sys.stderr.flush()
    assert isinstance(ended.value.code, int)
    return ended.value.code
