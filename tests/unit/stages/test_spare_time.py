"""Heavy work gets out of the way while others leave it enough of the processor, and only then."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from streamseg.stages.spare_time import SpareTime

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SCHED_IDLE is Linux's")

TOLD_S = 0.3
"""Longer than what says nothing about its share of a core."""


@pytest.fixture
def spare_time() -> Iterator[SpareTime]:
    made = SpareTime(lambda: None)
    yield made
    made.close()


def computing() -> int:
    """Take a core for as long as it takes to count, by the time of the core itself; the scheduling class."""
    began_s = time.thread_time()
    while time.thread_time() - began_s < TOLD_S:
        pass
    return os.sched_getscheduler(0)


def kept_waiting() -> int:
    """Get nothing of a core; the scheduling class."""
    time.sleep(TOLD_S)
    return os.sched_getscheduler(0)


def test_work_is_as_urgent_as_its_caller_until_it_is_known_what_others_leave(spare_time: SpareTime) -> None:
    assert spare_time.run(lambda: os.sched_getscheduler(0)) == os.SCHED_OTHER
    assert spare_time.run(lambda: threading.get_ident()) == threading.get_ident()
    assert not spare_time.left_enough, "work as short as that says nothing"


def test_work_that_had_a_core_leaves_it_to_others_from_then_on(spare_time: SpareTime) -> None:
    assert spare_time.run(computing) == os.SCHED_OTHER
    assert spare_time.run(computing) == os.SCHED_IDLE
    assert os.sched_getscheduler(0) == os.SCHED_OTHER, "the caller keeps its urgency"


def test_work_that_got_nothing_is_urgent_again(spare_time: SpareTime) -> None:
    spare_time.run(computing)
    assert spare_time.run(kept_waiting) == os.SCHED_IDLE
    assert spare_time.run(kept_waiting) == os.SCHED_OTHER


def test_an_exception_of_the_work_is_the_callers_in_either_class(spare_time: SpareTime) -> None:
    def fail() -> None:
        raise TimeoutError("the work's own")

    with pytest.raises(TimeoutError, match="the work's own"):
        spare_time.run(fail)
    spare_time.run(computing)
    with pytest.raises(TimeoutError, match="the work's own"):
        spare_time.run(fail)


def test_work_that_gets_hardly_anything_of_a_core_is_said_to_get_on() -> None:
    said = threading.Event()
    spare_time = SpareTime(said.set)
    spare_time.left_enough = True

    def work() -> None:
        deadline_s = time.monotonic() + 20
        while not said.wait(0.1) and time.monotonic() < deadline_s:
            used_s = time.thread_time()
            while time.thread_time() - used_s < 0.005:
                pass

    spare_time.run(work)
    spare_time.close()
    assert said.is_set()


def test_work_that_hangs_is_not_said_to_get_on() -> None:
    said = threading.Event()
    spare_time = SpareTime(said.set)
    spare_time.left_enough = True
    spare_time.run(lambda: threading.Event().wait(2.5))
    spare_time.close()
    assert not said.is_set()


def test_a_sandbox_that_forbids_the_class_leaves_work_as_urgent_as_its_caller(
    spare_time: SpareTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    spare_time.run(computing)
    assert spare_time.run(computing) == os.SCHED_OTHER


def test_a_system_without_the_class_runs_work_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "SCHED_IDLE")
    spare_time = SpareTime(lambda: None)
    spare_time.run(computing)
    assert spare_time.run(threading.get_ident) == threading.get_ident()
    spare_time.close()
