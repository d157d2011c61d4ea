"""A stage has the threads that it was given, whatever the machine or the environment would give it."""

from __future__ import annotations

import queue
import sys
from pathlib import Path

import pytest

from streamseg.config import check_config
from streamseg.ipc.child import StageProcess
from streamseg.ipc.control import Assignment, Ready, ToSupervisor
from streamseg.messages import Models
from streamseg.threads import available_cores

STAGE = """
import os
import cv2
import threadpoolctl
from streamseg.ipc.control import Ready
from streamseg.stages.base import Stage

class Telling(Stage):
    def prepare(self):
        import torch
        pools = {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
        return Ready(f"{cv2.getNumThreads()} {torch.get_num_threads()} {pools} {os.nice(0)}")

    def turn(self): ...
    def instruct(self, message): ...
    def close(self, reason): ...
"""


@pytest.mark.skipif(sys.platform == "win32", reason="niceness is Unix's")
@pytest.mark.skipif(available_cores() < 2, reason="needs two cores, as OpenBLAS takes no more threads than cores")
@pytest.mark.parametrize("threads", [1, 2])
def test_opencv_blas_and_pytorch_have_the_threads_of_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    (tmp_path / "telling.py").write_text(STAGE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[3]}")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, str(3 - threads))
    said: queue.SimpleQueue[ToSupervisor | None] = queue.SimpleQueue()
    child = StageProcess("telling", "telling", threads, lambda _, message: said.put(message))
    try:
        child.send(
            Assignment(
                stage="telling",
                config=check_config({"sources": [{"url": 0}]}),
                run_id="run",
                key=b"key",
                instance="streamseg-test",
                links=(),
                models=Models(detector="motion", segmenter="nano"),
                detector_weights=None,
                segmenter_weights=None,
                threads=threads,
                niceness=4,
                epoch=0,
                resume_after=None,
                tracker_state=b"",
                highest_id=0,
                log_level=30,
                tap=False,
            )
        )
        message = said.get(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert isinstance(message, Ready), message
    assert message.detail == f"{threads} {threads} {{{threads}}} 4"
