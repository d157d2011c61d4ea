from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamseg.pipeline import STAGES
from streamseg.threads import available_cores
from streamseg.topology import describe_budget

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="needs Linux, where a process can be held to cores"
)


@needs_affinity
def test_only_cores_that_the_process_may_run_on_count(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    assert available_cores(tmp_path / "absent") == len(before)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert available_cores(tmp_path / "absent") == 1
        assert describe_budget(STAGES, None, live=True).endswith("; 1 cores")
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("quota", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("6400000 100000", None)]
)
def test_a_containers_share_of_their_time_counts(tmp_path: Path, quota: str, cores: int | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(f"{quota}\n", encoding="ascii")
    assert available_cores(file) == (cores or available_cores(tmp_path / "absent"))


def test_the_budget_names_every_stage() -> None:
    cores = available_cores()
    assert describe_budget(STAGES, None, live=True) == (
        f"threads: capture 1, detect {max(1, round(cores / 2))}, segment {max(1, round(cores / 2))} (nice 10), "
        f"publish 1, record 1 (nice 5), hub 1; {cores} cores"
    )
    assert describe_budget(STAGES, 3, live=True).startswith(
        "threads: capture 1, detect 3, segment 3 (nice 10), publish 1, record 1 (nice 5), hub 1;"
    )


def test_the_segmenter_of_a_file_has_all_cores() -> None:
    cores = available_cores()
    budget = describe_budget(STAGES, None, live=False)
    assert f"detect {max(1, round(cores / 2))}, segment {cores} (nice 10)" in budget
