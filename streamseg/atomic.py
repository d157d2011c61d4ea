"""Files that are there in full or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_UNFINISHED: Final = ".part"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its place, and move it there when it is on the disk."""
    unfinished(path).write_bytes(content)
    flush(path)
    put_in_place(path)


def unfinished(path: Path) -> Path:
    """Where a file is written before it is moved to its place."""
    return path.with_name(f".{path.name}{_UNFINISHED}")


def flush(path: Path) -> None:
    """Wait until what was written to `unfinished(path)` is on the disk."""
    with unfinished(path).open("rb+") as file:
        os.fsync(file.fileno())


def put_in_place(path: Path) -> None:
    """Move `unfinished(path)` to its place."""
    unfinished(path).replace(path)


def unfinished_files(folder: Path) -> list[Path]:
    """The places of files in a folder that were written but not moved to them."""
    return [folder / path.name[1 : -len(_UNFINISHED)] for path in sorted(folder.glob(f".*{_UNFINISHED}"))]
