"""The name of the monotonic clock of this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def clock_name() -> str | None:
    """The name of the clock behind `time.monotonic_ns()`, the same in every process that reads it; None if unknown.

    On Linux that clock counts from the start of the machine, also inside its containers.
    """
    with suppress(OSError):
        return _BOOT.read_text().strip()
    return None
