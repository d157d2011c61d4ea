"""Files that are either complete or absent, whenever the process or the machine stops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_SUFFIX: Final = ".part"


@contextmanager
def replacing(path: Path, writer: str = "") -> Iterator[Path]:
    """Yield a file to write beside `path`; it replaces `path` when the block ends and is removed when the block raises.

    Args:
        path: The file to replace.
        writer: Distinguishes processes that may write the same file at the same time, such as `.` and a process id.
    """
    part = unfinished(path.with_name(f"{path.name}{writer}"))
    try:
        yield part
        _sync(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, replacing an existing one."""
    with replacing(path) as part:
        part.write_bytes(content)


def unfinished(path: Path) -> Path:
    """Where a file is written before it is complete."""
    return path.with_name(f".{path.name}{_SUFFIX}")


def flush(path: Path) -> None:
    """Block until the content of `unfinished(path)` is on the disk."""
    _sync(unfinished(path))


def put_in_place(path: Path) -> None:
    """Move `unfinished(path)` to `path`."""
    unfinished(path).replace(path)


def unfinished_files(folder: Path) -> list[Path]:
    """The targets of the unfinished files in a folder."""
    return [folder / path.name[1 : -len(_SUFFIX)] for path in sorted(folder.glob(f".*{_SUFFIX}"))]


def _sync(part: Path) -> None:
    with part.open("rb+") as file:
        os.fsync(file.fileno())
