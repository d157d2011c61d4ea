"""Records results as JSON Lines: one line a published frame."""

from __future__ import annotations

import mmap
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from streamseg.errors import StageError, UsageError
from streamseg.messages import Result
from streamseg.wire.record import record


class JsonlSink:
    """Writes one line a result, each of them handed to the operating system when `write` returns.

    Attributes:
        last_seq: Sequence number of the last line; None while there is none.
    """

    last_seq: int | None

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        """Open the file at once; an existing one is overwritten, or continued with `resume`.

        Args:
            path: The file.
            resume: Cut off a last line that is not complete and continue behind the one before. Results up to its
                sequence number are then ignored by `write`, so that a caller may simply give them again.

        Raises:
            UsageError: The file cannot be opened, or its last line is not a record.
        """
        self._path = path
        self.last_seq = None
        try:
            self._file = path.open("r+b" if resume and path.exists() else "w+b", buffering=0)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}; give another file for the records"
            ) from error
        if resume:
            try:
                self.last_seq = self._continue()
            except (msgspec.MsgspecError, UnicodeError, OSError) as error:
                self._file.close()
                raise UsageError(
                    f"{path} cannot be continued: its last line is not a record ({error}); give another file"
                ) from error
        self._resumed_at = self.last_seq

    def write(self, result: Result) -> None:
        """Append the result's line.

        Raises:
            StageError: The line could not be written; those before it stay.
        """
        if self._resumed_at is not None and result.seq <= self._resumed_at:
            return
        rest = memoryview(record(result) + b"\n")
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise StageError(
                f"writing {self._path} failed: {error.strerror}; free the disk or give another file for the records"
            ) from error
        self.last_seq = result.seq

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _continue(self) -> int | None:
        """Cut off what is behind the last line feed; the sequence number of the line before it, if there is one."""
        end, last = 0, b""
        if self._file.seek(0, 2):
            with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                end = content.rfind(b"\n") + 1
                last = content[content.rfind(b"\n", 0, max(end - 1, 0)) + 1 : end]
        seq = msgspec.json.decode(last, type=_Numbered, strict=False).seq if last else None
        self._file.truncate(end)
        self._file.seek(end)
        return seq


class _Numbered(msgspec.Struct):
    seq: int
