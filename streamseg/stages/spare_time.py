"""Heavy work that gets out of the way of what is urgent.

A thread of Linux's class SCHED_IDLE gives its core up at once when anything else wakes, where a nice one may keep it until the next tick,
and a core that runs only such a thread counts as free when one is sought. But it gets nothing at all where others leave nothing.
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
"""Share of a core that work got while it was nice, above which it is left to what others leave."""
_TOO_LITTLE = 0.25
"""Share of a core that it got from that, below which it is nice again: less than `_ENOUGH`, so as not to change with each work."""
_TELLING_S = 0.2
"""Shorter work says nothing about its share."""
_SOMETHING = 0.005
"""Share of a core that work has at least while it gets on: a process that waits for ever has less."""
_CHECKED_S = 1.0

_Answer = TypeVar("_Answer")


class SpareTime:
    """Runs work in the time that others leave of the processor while that is enough, and at the caller's own urgency while it is not.

    Which of them it is, is decided anew after each work. A system without SCHED_IDLE always takes the second.
    """

    def __init__(self, getting_on: Callable[[], None]) -> None:
        """Begin at the caller's urgency: nothing is known of what others leave.

        Args:
            getting_on: Is called about each second while others leave hardly anything of the processor to the work, but something.
        """
        self._getting_on = getting_on
        self._idle = ThreadPoolExecutor(1, "spare time", _take_what_is_left) if hasattr(os, "SCHED_IDLE") else None
        self.left_enough = False

    def run(self, work: Callable[[], _Answer]) -> _Answer:
        """Do the work and wait for it; its answer, or its exception."""
        began_s, used_s = time.monotonic(), time.process_time()
        answer = work() if self._idle is None or not self.left_enough else self._in_spare_time(self._idle, work)
        took_s = time.monotonic() - began_s
        if took_s >= _TELLING_S:
            share = (time.process_time() - used_s) / took_s
            self.left_enough = share >= (_TOO_LITTLE if self.left_enough else _ENOUGH)
        return answer

    def close(self) -> None:
        """End the thread, once its work is done."""
        if self._idle is not None:
            self._idle.shutdown()

    def _in_spare_time(self, idle: ThreadPoolExecutor, work: Callable[[], _Answer]) -> _Answer:
        answer, used_s = idle.submit(work), time.process_time()
        while True:
            try:
                return answer.result(_CHECKED_S)
            except TimeoutError:
                if answer.done():  # its own error, or it was done just now
                    return answer.result()
            before_s, used_s = used_s, time.process_time()
            if _SOMETHING < (used_s - before_s) / _CHECKED_S < _TOO_LITTLE:
                self._getting_on()


def _take_what_is_left() -> None:
    with contextlib.suppress(OSError):  # some sandboxes forbid it: then it is as urgent as its caller
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
