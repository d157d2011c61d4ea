"""A stage has the threads and the niceness of its spec, whatever the environment sets."""

from __future__ import annotations

import os
import platform
import queue
import sys
from pathlib import Path

import msgspec
import pytest
from support.stage_context import stage_spec

from streamseg.ipc.launcher import ProcessLauncher
from streamseg.ipc.stage_messages import Ready, ToSupervisor
from streamseg.threads import available_cores

STAGE = """
import os
import cv2
import threadpoolctl
from streamseg.ipc.stage_messages import Ready
from streamseg.stages.base import Stage

class Described(Stage):
    def prepare(self):
        import torch
        pools = {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "openmp"}
        threads = f"{cv2.getNumThreads()} {torch.get_num_threads()} {pools}"
        own = os.getpgrp() == os.getpid()
        return Ready(f"{threads}; nice {os.nice(0)}, session {os.getsid(0)}, keys of its own: {own}")

    def turn(self): ...
    def instruct(self, message): ...
    def close(self, reason): ...
"""


ALLOCATING = """
import resource
import numpy as np
from streamseg.ipc.stage_messages import Ready
from streamseg.stages.base import Stage

class Allocating(Stage):
    def prepare(self):
        def frame():
            for array in [np.empty((360, 640, 3), np.uint8) for _ in range(8)]:
                array[:] = 1
        frame()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            frame()
        return Ready(str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))

    def turn(self): ...
    def instruct(self, message): ...
    def close(self, reason): ...
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="niceness and sessions are Unix's")


@pytest.mark.skipif(available_cores() < 2, reason="needs two cores")
@pytest.mark.parametrize("threads", [1, 2])
def test_opencv_and_pytorch_have_the_threads_of_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, str(3 - threads))
    assert describe(tmp_path, monkeypatch, threads).startswith(f"{threads} {threads} {{{threads}}}; ")


def test_niceness_counts_between_stages_as_they_share_a_session_and_keys_pressed_reach_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert describe(tmp_path, monkeypatch, 1).endswith(
        f"; nice {os.nice(0) + 4}, session {os.getsid(0)}, keys of its own: True"
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_the_memory_of_a_frame_serves_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert int(describe(tmp_path, monkeypatch, 1, ALLOCATING)) < 1000  # pages; a frame has 1350


def describe(folder: Path, monkeypatch: pytest.MonkeyPatch, threads: int, stage: str = STAGE) -> str:
    """How a stage with so many threads and a niceness of 4 describes itself."""
    (folder / "described.py").write_text(stage, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(__file__).parents[3]}")
    messages: queue.SimpleQueue[ToSupervisor | None] = queue.SimpleQueue()
    spec = msgspec.structs.replace(stage_spec("described"), threads=threads, niceness=4)
    with ProcessLauncher([]) as launcher:
        child = launcher.launch("described", spec, messages.put)
        try:
            message = messages.get(timeout=60)
        finally:
            child.kill()
            child.wait()
    assert isinstance(message, Ready), message
    assert message.detail is not None
    return message.detail
