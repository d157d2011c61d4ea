"""Records results as JSON Lines: one line a published frame."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from streamseg.messages import ResultMessage
from streamseg.printable import printable_json
from streamseg.sinks.output_file import OutputFile
from streamseg.wire.protocol import json_line


class LinesWriter:
    """Writes one line a result; the operating system has each of them when `write` returns."""

    def __init__(self, path: Path) -> None:
        """Open the file at once; an existing one is overwritten.

        Raises:
            UsageError: The file cannot be opened.
        """
        self.file = OutputFile(path)

    def write(self, result: ResultMessage) -> None:
        """Append the result's line.

        Raises:
            OutputError: The file was deleted.
            StageError: The line could not be written; those before it stay.
        """
        self.file.append(printable_json(json_line(result)) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
