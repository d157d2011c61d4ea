"""Threads that read standard input, in processes whose input remains open: Python aborts where one holds its lock."""

from __future__ import annotations

import subprocess
import sys

import pytest

DEADLINE_S = 60

WINDOW = """
import sys, threading, types
shown = threading.Event()
sys.modules["streamseg.show"] = types.ModuleType("streamseg.show")
sys.modules["streamseg.show"].show = lambda *given, **named: {show}
from streamseg.cli.watch import show
show(until_input_ends=True)
"""
"""`streamseg show` with a window that does what the test needs."""

STAGE = """
import os, sys, threading
from streamseg.stages.process import _take_over_standard_streams
control, _ = _take_over_standard_streams()
reading = threading.Event()
def listen():
    reading.set()
    control.read(1)
threading.Thread(target=listen, daemon=True).start()
reading.wait()
sys.stderr.write(repr(os.read(0, 1)))
"""


@pytest.mark.parametrize(
    ("program", "errors"), [(WINDOW.format(show=None), ""), (STAGE, "b''")], ids=["window", "stage"]
)
def test_a_process_ends_in_order_while_a_thread_reads_its_input(program: str, errors: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.wait(DEADLINE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == errors


def test_a_window_ends_with_its_input() -> None:
    program = WINDOW.format(show="shown.wait()")
    done = subprocess.run([sys.executable, "-c", program], input="", timeout=DEADLINE_S, check=False)
    assert done.returncode == 0
