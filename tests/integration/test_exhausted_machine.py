"""Disks, shared memory and memory that are full: one line, an exit code, and what was recorded stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.leftovers import Place
from support.pipeline_runs import Recording, read_records, until
from support.small_disks import fill_disk, with_small_disk

RUN = (
    "run", "--detector", "motion", "--segmenter", "nano", "--set", "publish.bind=tcp://127.0.0.1:*",
    "--set", "mode=every-frame", "--source",
)  # fmt: skip
SHARED_MEMORY = Path("/dev/shm")


def test_a_full_disk_ends_the_run_with_a_line(place: Place) -> None:
    small = place.folder / "small"
    small.mkdir()
    with place.run(
        *RUN, "synthetic:?size=320x240&frames=0", "--record", "small/out.mp4", "--jsonl", "small/out.jsonl",
        wrapper=with_small_disk(small, "100k"),
    ) as run:  # fmt: skip
        status, output, errors = run.finish(200)
    assert (status, output) == (70, "")
    assert "Traceback" not in errors
    last = errors.splitlines()[-1]
    assert last.startswith("streamseg: record failed: writing small/out.")
    assert "No space left on device; free the disk or give another file" in last


def test_too_little_shared_memory_ends_the_run_with_a_line(place: Place) -> None:
    with place.run(
        *RUN, "synthetic:?size=640x480&frames=0", wrapper=with_small_disk(SHARED_MEMORY, "1m")
    ) as run:  # fmt: skip
        status, output, errors = run.finish(200)
    assert (status, output) == (70, "")
    assert "Traceback" not in errors
    assert "/dev/shm has 1 MiB free and the frames need 7" in errors.splitlines()[-1]
    assert "give a container more with --shm-size" in errors.splitlines()[-1]


def test_shared_memory_that_is_full_for_a_while_costs_no_frame(place: Place) -> None:
    recording = Recording(place.folder / "out.jsonl")
    wrapper = with_small_disk(SHARED_MEMORY, "16m")
    with place.run(*RUN, "synthetic:?size=320x240&frames=60", "--jsonl", "out.jsonl", wrapper=wrapper) as run:
        until(lambda: recording.seq > 5 or run.process.poll() is not None, 60, "frames")
        filler = fill_disk(run.process.pid, SHARED_MEMORY)
        assert run.process.stderr is not None
        assert any("detect: restarting (failed: /dev/shm/" in line for line in run.process.stderr)
        filler.unlink()
        status, _, errors = run.finish(200)
    assert status == 0, errors
    assert [int(record.seq) for record in read_records(place.folder / "out.jsonl")] == list(range(60))


@pytest.mark.parametrize("megabytes", [200, 610])
def test_too_little_memory_ends_the_run_with_a_line(place: Place, megabytes: int) -> None:
    """It is found out before the start, or threads find no room."""
    limit = ("sh", "-c", 'ulimit -v "$1" && shift && exec "$@"', "sh", str(megabytes * 1000))
    with place.run(*RUN, "synthetic:?size=320x240&frames=5", wrapper=limit) as run:
        status, output, errors = run.finish(200)
    assert (status, output) == (70, ""), errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("streamseg: ")
