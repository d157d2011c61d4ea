"""Records results as JSON Lines: one line a published frame."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from streamseg.errors import StageError, UsageError
from streamseg.messages import ResultMessage
from streamseg.wire.protocol import json_line


class LinesWriter:
    """Writes one line a result; the operating system has each of them when `write` returns."""

    def __init__(self, path: Path) -> None:
        """Open the file at once; an existing one is overwritten.

        Raises:
            UsageError: The file cannot be opened.
        """
        self._path = path
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}; give another file for the records"
            ) from error

    def write(self, result: ResultMessage) -> None:
        """Append the result's line.

        Raises:
            StageError: The line could not be written; those before it stay.
        """
        rest = memoryview(json_line(result) + b"\n")
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise StageError(
                f"writing {self._path} failed: {error.strerror}; free the disk or give another file for the records"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
