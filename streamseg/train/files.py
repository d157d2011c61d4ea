"""Writes what a training leaves."""

from __future__ import annotations

from pathlib import Path

from streamseg.atomic import write_atomically
from streamseg.errors import UsageError


def write_file(path: Path, content: bytes) -> None:
    """Replace a file at once and whole.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}; "
            "make room, and give the same command again: it goes on from the last checkpoint"
        ) from error
