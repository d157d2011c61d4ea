"""Memory of a program and of all that it has started."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_PARENT, _PAGES = 1, 21
"""Places of the parent's number and of the resident pages in `/proc/PID/stat`, counted behind the program's name."""


def family_mb(pid: int) -> float | None:
    """Memory that is in use by a process and its descendants, in 10^6 bytes, summed up; None where there is no `/proc`.

    What several of them share is counted for each.
    """
    processes = _processes()
    if pid not in processes:
        return None
    family = {pid}
    while grown := {child for child, (parent, _) in processes.items() if parent in family} - family:
        family |= grown
    return sum(processes[member][1] for member in family) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _processes() -> dict[int, tuple[int, int]]:
    """Parent and resident pages of every process, by its number."""
    found = {}
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            fields = path.read_text("ascii", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        found[int(path.parent.name)] = (int(fields[_PARENT]), int(fields[_PAGES]))
    return found
