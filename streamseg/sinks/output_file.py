"""A file of a recording while it is written."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from streamseg.errors import StageError, UsageError
from streamseg.sinks.parts import deleted


class OutputFile:
    """A file to append to; the operating system has all of what was appended when `append` returns."""

    def __init__(self, path: Path) -> None:
        """Open the file at once; an existing one is overwritten.

        Raises:
            UsageError: It cannot be opened.
        """
        self._path = path
        self._length = 0
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}; give another file") from error

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._file.closed

    def append(self, data: bytes) -> None:
        """Append all of `data`, or nothing.

        Raises:
            OutputError: The file has lost its name.
            StageError: It could not be written; what was appended before stays.
        """
        self.require()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):  # the first error matters; readers skip what is cut short
                self._file.truncate(self._length)
            raise StageError(
                f"writing {self._path} failed: {error.strerror}; free the disk or give another file"
            ) from error
        self._length += len(data)

    def require(self) -> None:
        """Check that the file is still there: what is written to a deleted one is lost.

        Raises:
            OutputError: It was deleted, renamed or replaced.
        """
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._file.fileno()), self._path.stat()):
                return
        raise deleted(self._path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
