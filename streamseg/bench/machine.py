"""Describes the machine that figures come from, and how much memory and time processes use."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec

_PROC = Path("/proc")
_PARENT, _USER, _SYSTEM = 1, 11, 12
"""Fields of `/proc/PID/stat` behind the program's name: the parent's number, processor time, resident pages."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What speed depends on.

    Attributes:
        cpu: Name of the processor and, in brackets, its fastest instruction set for floating point.
        memory_gb: In 10^9 bytes; None without `/proc`.
    """

    cpu: str
    cores: int
    memory_gb: float | None
    system: str
    python: str


def this_machine() -> Machine:
    """Describe the machine that this process runs on."""
    cpu = _fields("cpuinfo")
    name = cpu.get("model name") or platform.processor() or platform.machine()
    flags = cpu.get("flags", "").split()
    fastest = next((flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if flag in flags), None)
    total = memory_gb("MemTotal")
    return Machine(
        cpu=name if fastest is None else f"{name} ({fastest})",
        cores=os.cpu_count() or 1,
        memory_gb=None if total is None else round(total, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def memory_gb(entry: str) -> float | None:
    """Return an entry of `/proc/meminfo`, such as `MemAvailable`, in 10^9 bytes; None without `/proc`."""
    text = _fields("meminfo").get(entry)
    return None if text is None else 1024 * int(text.split()[0]) / 1e9


def family_rss_mb(pid: int) -> float | None:
    """Return the resident memory of a process and its descendants, in 10^6 bytes; None if `/proc` does not list it.

    A page that several of them share counts once: it is divided between all processes that have it (the `Pss` of
    proc_pid_smaps(5)).
    """
    family = _family(pid)
    if family is None:
        return None
    shares = [_fields(f"{member}/smaps_rollup").get("Pss", "0 kB") for member in family]
    return sum(1024 * int(share.split()[0]) for share in shares) / 1e6


def family_cpu_s(pid: int) -> float | None:
    """Add up the processor time of a process and its living descendants; None if `/proc` does not list it."""
    family = _family(pid)
    if family is None:
        return None
    return sum(int(fields[_USER]) + int(fields[_SYSTEM]) for fields in family.values()) / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> dict[int, list[str]] | None:
    """The fields of a process and its descendants in `/proc/PID/stat`, by process."""
    processes: dict[int, list[str]] = {}
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            fields = path.read_text("ascii", errors="replace").rpartition(")")[2].split()
        except OSError:  # the process ended meanwhile
            continue
        processes[int(path.parent.name)] = fields
    if pid not in processes:
        return None
    family = {pid}
    while children := {child for child, fields in processes.items() if int(fields[_PARENT]) in family} - family:
        family |= children
    return {member: processes[member] for member in family}


def _fields(name: str) -> dict[str, str]:
    """Read the lines `name: value` of a file in `/proc`; the first line of a name counts. Empty without such a file."""
    try:
        lines = (_PROC / name).read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
