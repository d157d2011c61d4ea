"""The runs of this user that read their settings file again on SIGHUP: a locked file for each in the private folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamseg.ipc.run_lock import RunLock

_PREFIX: Final = "reloads-"


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run that lives.

    Attributes:
        endpoint: Where it publishes.
    """

    pid: int
    endpoint: str


@contextmanager
def listed(folder: Path, endpoint: str) -> Iterator[None]:
    """List this process; it handles SIGHUP already.

    Args:
        folder: The user's private folder.
        endpoint: Where the run publishes.

    Raises:
        StageError: The folder cannot be written.
    """
    sweep_listed(folder)
    lock = RunLock.make(folder / f"{_PREFIX}{os.getpid()}", endpoint)
    try:
        yield
    finally:
        lock.release()


def listed_runs(folder: Path) -> list[ListedRun]:
    """The runs that live, by their process ids."""
    sweep_listed(folder)
    found = [(int(path.name.removeprefix(_PREFIX)), path) for path in _files(folder)]
    return [ListedRun(pid, path.read_text()) for pid, path in sorted(found)]


def sweep_listed(folder: Path) -> None:
    """Remove the files of runs that were killed."""
    for path in _files(folder):
        lock = RunLock.of_dead(path)
        if lock is not None:
            lock.release()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdecimal())
