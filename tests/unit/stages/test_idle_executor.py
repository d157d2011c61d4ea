"""Long work leaves the processor to others while that leaves it enough, and only then."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from streamseg.stages import idle_executor
from streamseg.stages.idle_executor import IdleExecutor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SCHED_IDLE is Linux's")


class Processor:
    """The module `time`, as far as the executor reads it: work takes `run(seconds, share)` of a core."""

    def __init__(self) -> None:
        self.wall_s = 100.0
        self.used_s = 10.0

    def monotonic(self) -> float:
        return self.wall_s

    def process_time(self) -> float:
        return self.used_s

    def run(self, seconds: float, share: float) -> None:
        self.wall_s += seconds
        self.used_s += seconds * share


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Processor:
    made = Processor()
    monkeypatch.setattr(idle_executor, "time", made)
    return made


@pytest.fixture
def executor() -> Iterator[IdleExecutor]:
    made = IdleExecutor(lambda: None)
    yield made
    made.close()


def work(processor: Processor, seconds: float, share: float) -> int:
    """Take such a share of a core for so long; the scheduling class."""
    processor.run(seconds, share)
    return os.sched_getscheduler(0)


def test_work_keeps_the_callers_priority_until_a_measurement(executor: IdleExecutor, processor: Processor) -> None:
    assert executor.run(lambda: work(processor, 0.1, 1.0)) == os.SCHED_OTHER
    assert executor.run(threading.get_ident) == threading.get_ident()
    assert not executor.idle, "work as short as that shows nothing"
    executor.run(lambda: work(processor, 0.15, 0.5))
    assert executor.idle, "two pieces do"


def test_work_with_enough_of_a_core_moves_to_idle_priority(executor: IdleExecutor, processor: Processor) -> None:
    assert executor.run(lambda: work(processor, 0.3, 0.4)) == os.SCHED_OTHER
    assert executor.run(lambda: work(processor, 0.3, 0.3)) == os.SCHED_IDLE
    assert executor.run(lambda: work(processor, 0.3, 0.3)) == os.SCHED_IDLE
    assert os.sched_getscheduler(0) == os.SCHED_OTHER, "the caller keeps its priority"


def test_work_with_little_of_a_core_returns_to_the_callers_priority(
    executor: IdleExecutor, processor: Processor
) -> None:
    executor.run(lambda: work(processor, 0.3, 1.0))
    assert executor.run(lambda: work(processor, 0.3, 0.2)) == os.SCHED_IDLE
    assert executor.run(lambda: work(processor, 0.3, 0.3)) == os.SCHED_OTHER
    assert executor.run(lambda: work(processor, 0.3, 0.3)) == os.SCHED_OTHER


def test_an_exception_of_the_work_reaches_the_caller_at_either_priority(executor: IdleExecutor) -> None:
    def fail() -> None:
        raise TimeoutError("the work's own")

    for executor.idle in (False, True):
        with pytest.raises(TimeoutError, match="the work's own"):
            executor.run(fail)


@pytest.mark.parametrize(("share", "reported"), [(0.1, True), (0.001, False), (0.5, False)])
def test_progress_is_reported_for_slow_work_and_not_for_hung_work(
    monkeypatch: pytest.MonkeyPatch, share: float, reported: bool
) -> None:
    checked_s, used_s = 0.01, itertools.count()
    monkeypatch.setattr(idle_executor, "_CHECKED_S", checked_s)
    processor = Processor()
    monkeypatch.setattr(processor, "process_time", lambda: next(used_s) * checked_s * share)
    monkeypatch.setattr(idle_executor, "time", processor)
    reports: list[None] = []
    executor = IdleExecutor(lambda: reports.append(None))
    executor.idle = True
    executor.run(lambda: threading.Event().wait(0.1))
    executor.close()
    assert bool(reports) == reported


def test_a_sandbox_that_forbids_the_class_leaves_work_at_the_callers_priority(
    executor: IdleExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    executor.idle = True
    assert executor.run(lambda: os.sched_getscheduler(0)) == os.SCHED_OTHER


def test_a_system_without_the_class_runs_work_on_the_callers_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "SCHED_IDLE")
    executor = IdleExecutor(lambda: None)
    executor.idle = True
    assert executor.run(threading.get_ident) == threading.get_ident()
    executor.close()
