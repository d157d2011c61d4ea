"""Runs a command with small disks of its own, in a mount namespace that ends with it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


def with_small_disk(folder: Path, size: str) -> tuple[str, ...]:
    """What to put in front of a command so that a folder is a disk of that size, such as `300k`, for it alone."""
    names = ("unshare", "--mount", *(() if os.getuid() == 0 else ("--map-root-user",)))
    mount = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@"'
    wrapper = (*names, "sh", "-c", mount, "sh", size, str(folder))
    if subprocess.run((*wrapper, "true"), capture_output=True, check=False).returncode:
        pytest.skip("may not mount a disk in a namespace of its own (unshare)")
    return wrapper


def fill_disk(process: int, folder: Path) -> Path:
    """Fill a disk that only a process sees; the file to delete is returned."""
    filler = Path(f"/proc/{process}/root{folder}/filler")
    with filler.open("wb", buffering=0) as file:
        for block in (bytes(4096), bytes(1)):
            try:
                while True:
                    file.write(block)
            except OSError:
                continue
    return filler
