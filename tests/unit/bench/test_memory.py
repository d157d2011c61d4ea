from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from streamseg.bench.memory import family_mb

_FAMILY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "held = bytearray(b'1' * 50_000_000); print(flush=True); input()"], stdin=subprocess.PIPE)
input()
child.communicate()
"""


def test_memory_of_a_process_and_its_child() -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", _FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    program.stdout.readline()  # the child holds its memory
    try:
        measured = family_mb(program.pid)
        process = psutil.Process(program.pid)
        expected = sum(member.memory_info().rss for member in (process, *process.children())) / 1e6
        assert measured is not None and measured > 50
        assert measured == pytest.approx(expected, rel=0.05)
    finally:
        program.communicate("\n")


def test_a_process_that_is_gone_has_none() -> None:
    program = subprocess.Popen([sys.executable, "-c", ""])
    program.wait()
    assert family_mb(program.pid) is None
    assert family_mb(os.getpid()) is not None
