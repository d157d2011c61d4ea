"""Lock files that are removed when they are no longer held."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from filelock import FileLock


def remove_and_release(lock: FileLock) -> None:
    """Remove the file of a lock that is held, then release it.

    A process that waits for it is not misled: `filelock` takes no lock on a removed file, and makes a new one.
    """
    with suppress(PermissionError):  # Windows removes no open file
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
