"""The standard streams of a process, also when they are closed, full or have no reader."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

from streamseg.errors import OutputError, ReaderGoneError
from streamseg.redaction import redact

if TYPE_CHECKING:
    from typing_extensions import Buffer

_OUTPUT: Final = 1
_LOG: Final = 2
_PATIENCE_S: Final = 0.2
"""How long a log line waits for its reader, once; while nobody reads, the lines after it wait no more."""
_AT_ONCE: Final = 4096
"""Bytes that a pipe takes without waiting when it is ready for any."""


def take_over_streams() -> None:
    """Make the standard streams usable, in whatever state the process got them.

    A closed stream is opened on nothing, before another file gets its number. What has no place in the stream's
    encoding is escaped. Output that cannot be written raises `OutputError` once; a log that cannot be written, or that
    nobody reads, is lost.
    """
    open_closed_streams()
    sys.stdout = _text(_Output(_OUTPUT, "wb", closefd=False), sys.stdout)
    sys.stderr = log_stream()


def open_closed_streams() -> None:
    """Open the null device in place of each standard stream that is closed."""
    for number in (0, _OUTPUT, _LOG):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdin = sys.stdin or open(0, closefd=False, encoding="utf-8")  # noqa: SIM115 - open as long as the process


def log_stream() -> TextIO:
    """Standard error as a text stream without passwords.

    It loses what cannot be written: neither a full disk nor a full pipe that nobody reads may end or stop the work.
    """
    return _text(_Log(_LOG, "wb", closefd=False), sys.stderr, _RedactedText)


class _Output(io.FileIO):
    _failed = False

    def write(self, data: Buffer) -> int:
        if self._failed:  # the error is reported; what is still buffered would repeat it at the exit
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self._failed = True
            if isinstance(error, BrokenPipeError):
                raise ReaderGoneError("") from error
            raise OutputError(f"standard output cannot be written: {error.strerror}; free the disk") from error
        except SystemExit:  # a signal ended the command while its reader took nothing
            self._failed = True
            raise


class _Log(io.FileIO):
    _lost = 0

    def write(self, data: Buffer) -> int:
        size = memoryview(data).nbytes
        try:
            if not select.select([], [self], [], 0 if self._lost else _PATIENCE_S)[1]:
                self._lost += size
                return size
            if not self._lost:
                return super().write(memoryview(data)[:_AT_ONCE])
            super().write(b"streamseg: %d bytes of this log were lost because nobody read it\n" % self._lost)
        except OSError:
            return size
        self._lost = 0
        return self.write(data)


class _RedactedText(io.TextIOWrapper):
    def write(self, text: str) -> int:
        super().write(redact(text))
        return len(text)


def _text(file: io.FileIO, before: TextIO | None, kind: Callable[..., TextIO] = io.TextIOWrapper) -> TextIO:
    """A text stream in the encoding of the one `before`, which is None if it was closed."""
    return kind(
        io.BufferedWriter(file),
        encoding="utf-8" if before is None else before.encoding,
        errors="backslashreplace",
        line_buffering=file.isatty() or file.fileno() == _LOG,
    )
