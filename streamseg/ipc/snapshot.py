"""State of a stage that outlives its process: one small file in shared memory, replaced as a whole."""

from __future__ import annotations

from typing import Protocol

from streamseg.errors import StageError
from streamseg.ipc.ring import block_folder


class Snapshot(Protocol):
    """Keeps a stage's state for the process that takes over."""

    def save(self, state: bytes) -> None:
        """Replace the state. A process killed meanwhile leaves the old state or the new one, never a mixture."""
        ...

    def load(self) -> bytes | None:
        """The state saved last, or None without one. Only processes of the same user and run can write it."""
        ...


class SharedSnapshot:
    """A snapshot in shared memory; the run's end removes it with the run's rings."""

    def __init__(self, name: str) -> None:
        """Name the file; its name begins with the run's instance."""
        self._path = block_folder() / name
        self._written = self._path.with_name(f"{name}.new")

    def save(self, state: bytes) -> None:
        """Replace the state at once.

        Raises:
            StageError: Shared memory is full or cannot be written.
        """
        try:
            self._written.touch(mode=0o600)
            self._written.write_bytes(state)
            self._written.replace(self._path)
        except OSError as error:
            raise StageError(f"{self._path}: cannot be written ({error.strerror}); free some memory there") from error

    def load(self) -> bytes | None:
        """The state saved last, or None without one."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
