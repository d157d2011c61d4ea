"""Marks a run as alive by a file that it keeps locked: the kernel releases the lock, however the process ends."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Self

from streamseg.errors import StageError


class RunLock:
    """The lock on a file of this user. Make one with `make` or `of_dead`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def make(cls, path: Path, text: str = "") -> Self:
        """Make the file. It has its name only once it is locked and holds its text: nobody can take its run for dead.

        Raises:
            StageError: The folder cannot be written.
        """
        unnamed = path.with_name(f".{path.name}")
        try:
            lock = cls(path, os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            fcntl.flock(lock._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(lock._descriptor, text.encode())
            unnamed.rename(path)
        except OSError as error:
            raise StageError(f"cannot create {path} ({error.strerror}); make {path.parent} writable") from error
        return lock

    @classmethod
    def of_dead(cls, path: Path) -> Self | None:
        """The lock of a run that has died; None if it is alive, or the file is not a lock of this user's."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        found = os.fstat(descriptor)
        try:
            if stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return cls(path, descriptor)
        except BlockingIOError:
            pass
        os.close(descriptor)
        return None

    def restore(self) -> None:
        """Make the file again if something has removed it, as a log-out does under systemd's RemoveIPC.

        Raises:
            StageError: The folder cannot be written.
        """
        if not os.path.lexists(self._path):
            lost = self._descriptor
            self._descriptor = self.make(self._path)._descriptor
            os.close(lost)

    def release(self) -> None:
        """Remove the file and release the lock."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
