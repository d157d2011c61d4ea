"""What a run holds does not grow with time."""

from __future__ import annotations

import psutil
import pytest
from support.leftovers import Place
from support.pipeline_runs import RECORDING_STAGES, Recording, Run, until

from streamseg.ipc.ring import block_folder

SETTLED, LAST = 1200, 7200
"""Frames after which caches are full, and after which the run ends: two minutes at 60 frames a second."""
GROWTH_BYTES = 16e6
"""Fragmentation of the heap; a leak of 3 kB a frame exceeds it."""
LIVE = (
    "run", "--source", "synthetic:?size=320x240&fps=60&frames=0", "--detector", "motion", "--segmenter", "nano",
    "--set", "publish.bind=tcp://127.0.0.1:*", "--record", "out.mp4", "--jsonl", "out.jsonl",
)  # fmt: skip


@pytest.mark.full
def test_memory_descriptors_and_shared_memory_do_not_grow(place: Place) -> None:
    recording = Recording(place.folder / "out.jsonl")

    def wait_for(run: Run, seq: int) -> None:
        until(lambda: recording.seq >= seq or run.process.poll() is not None, 600, f"frame {seq}")
        assert run.process.poll() is None, run.finish(1)

    with place.run(*LIVE) as run:
        wait_for(run, SETTLED)
        processes = {**run.stages(), "supervisor": psutil.Process(run.process.pid)}
        assert set(processes) == {*RECORDING_STAGES, "supervisor"}
        memory, descriptors = memory_of(processes), descriptors_of(processes)
        threads, blocks = threads_of(processes), blocks_of(run)
        wait_for(run, LAST)
        grown = {name: held - memory[name] for name, held in memory_of(processes).items()}
        assert all(held < GROWTH_BYTES for held in grown.values()), grown
        assert (descriptors_of(processes), threads_of(processes)) == (descriptors, threads)
        assert blocks_of(run) == blocks
        run.process.terminate()
        assert run.finish(30)[0] == 143


def memory_of(processes: dict[str, psutil.Process]) -> dict[str, float]:
    """Bytes that each process has for itself."""
    return {name: process.memory_full_info().uss for name, process in processes.items()}


def descriptors_of(processes: dict[str, psutil.Process]) -> dict[str, int]:
    """Open files, sockets and pipes of each process."""
    return {name: process.num_fds() for name, process in processes.items()}


def threads_of(processes: dict[str, psutil.Process]) -> dict[str, int]:
    """Threads of each process."""
    return {name: process.num_threads() for name, process in processes.items()}


def blocks_of(run: Run) -> dict[str, int]:
    """What the run has in shared memory, and of what size in MB."""
    mapped = {each.path for each in run.stages()["capture"].memory_maps() if each.path.startswith(str(block_folder()))}
    (name,) = {"-".join(path.rsplit("/", 1)[1].split("-")[:2]) for path in mapped if "/streamseg-" in path}
    return {path.name: path.stat().st_size >> 20 for path in block_folder().glob(f"{name}*")}
