"""Runs long work at idle priority, so that it delays no other process.

A thread of Linux's class SCHED_IDLE gives up its core at once when anything else wakes; a nice one may keep it until
the next tick. A core that runs only such a thread counts as free. But it gets no time at all if others leave none.
Source: sched(7).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_ENOUGH = 0.35
"""Share of a core that work got at normal priority, above which it moves to idle priority."""
_TOO_LITTLE = 0.25
"""Share at idle priority below which work moves back: less than `_ENOUGH`, so as not to alternate."""
_MEASURED_S = 0.2
"""Work that takes so long, in one piece or several, shows its share of a core."""
_STALLED = 0.005
"""Share of a core below which work counts as hung; a process that waits forever uses less."""
_CHECKED_S = 1.0

_Value = TypeVar("_Value")


class IdleExecutor:
    """Runs work at idle priority while that leaves it enough of a core, and otherwise at the caller's priority.

    It decides after long work, or several short pieces. A system without SCHED_IDLE always uses the caller's priority.

    Attributes:
        idle: Whether the next work runs at idle priority.
    """

    def __init__(self, report_progress: Callable[[], None]) -> None:
        """Begin at the caller's priority, as nothing is measured yet.

        Args:
            report_progress: Called about once a second while the work gets little of a core, but is not hung.
        """
        self.idle = False
        self._took_s = self._used_s = 0.0
        self._report_progress = report_progress
        self._thread = ThreadPoolExecutor(1, "idle", _enter_idle_class) if hasattr(os, "SCHED_IDLE") else None

    def run(self, work: Callable[[], _Value]) -> _Value:
        """Run the work, wait for it, and return its value or raise its exception."""
        began_s, used_s = time.monotonic(), time.process_time()
        value = work() if self._thread is None or not self.idle else self._run_idle(self._thread, work)
        self._took_s += time.monotonic() - began_s
        self._used_s += time.process_time() - used_s
        if self._took_s >= _MEASURED_S:
            self.idle = self._used_s / self._took_s >= (_TOO_LITTLE if self.idle else _ENOUGH)
            self._took_s = self._used_s = 0.0
        return value

    def close(self) -> None:
        """End the thread after its current work."""
        if self._thread is not None:
            self._thread.shutdown()

    def _run_idle(self, thread: ThreadPoolExecutor, work: Callable[[], _Value]) -> _Value:
        future, used_s = thread.submit(work), time.process_time()
        while True:
            try:
                return future.result(_CHECKED_S)
            except TimeoutError:
                if future.done():  # the work raised it, or ended just now
                    return future.result()
            before_s, used_s = used_s, time.process_time()
            if _STALLED < (used_s - before_s) / _CHECKED_S < _TOO_LITTLE:
                self._report_progress()


def _enter_idle_class() -> None:
    with contextlib.suppress(OSError):  # some sandboxes forbid it: the work then keeps the caller's priority
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
