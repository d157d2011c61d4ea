"""The machine that figures are of."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the figures depend on.

    Attributes:
        cpu: The processor's name, as it says itself, with the fastest instruction set for floating point that it has.
        cores: How many of them this process sees.
        memory_gb: In 10^9 bytes; None where the system does not say.
        system: The operating system.
        python: Its version.
    """

    cpu: str
    cores: int
    memory_gb: float | None
    system: str
    python: str


def this_machine() -> Machine:
    """Describe the machine that this runs on."""
    total = _memory_bytes("MemTotal")
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gb=None if total is None else round(total / 1e9, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def available_memory_gb() -> float | None:
    """Memory that could be had now, in 10^9 bytes; None where the system does not say."""
    available = _memory_bytes("MemAvailable")
    return None if available is None else available / 1e9


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of those of the packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def resident_mb() -> float | None:
    """Memory of this process that is in use, in 10^6 bytes; None where there is no `/proc`."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except FileNotFoundError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _cpu() -> str:
    told = _table(Path("/proc/cpuinfo"))
    flags = told.get("flags", "").split()
    fastest = next((flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if flag in flags), None)
    name = told.get("model name") or platform.processor() or platform.machine()
    return name if fastest is None else f"{name} ({fastest})"


def _memory_bytes(entry: str) -> int | None:
    told = _table(Path("/proc/meminfo")).get(entry)
    return None if told is None else 1024 * int(told.split()[0])


def _table(path: Path) -> dict[str, str]:
    """The lines `name: value` of one of Linux's files, the first of each name; none where there is no such file."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
