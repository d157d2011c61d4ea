"""The part files of a recording: each start of the recording process writes a new one beside those before it.

The first part is the file that the user named, `out.mp4`; the next ones are `out.part-2.mp4`, `out.part-3.mp4`, ...
"""

from __future__ import annotations

import re
from pathlib import Path

from streamseg.errors import OutputError


def part_path(target: Path, number: int) -> Path:
    """The file of a part; parts are numbered from 1."""
    return target if number == 1 else target.with_name(f"{target.stem}.part-{number}{target.suffix}")


def later_parts(target: Path) -> list[Path]:
    """The existing parts beyond the first, in their order."""
    pattern = re.compile(rf"{re.escape(target.stem)}\.part-([0-9]+){re.escape(target.suffix)}")
    numbered = ((pattern.fullmatch(path.name), path) for path in target.parent.iterdir())
    return [path for _, path in sorted((int(match[1]), path) for match, path in numbered if match is not None)]


def existing_parts(target: Path) -> list[Path]:
    """All existing parts, in their order."""
    return ([target] if target.exists() else []) + later_parts(target)


def all_parts(target: Path) -> list[Path]:
    """All parts of a recording that has at least one.

    Raises:
        OutputError: One was deleted.
    """
    existing = existing_parts(target)
    for number in range(1, max(1, len(existing)) + 1):
        if part_path(target, number) not in existing:
            raise deleted(part_path(target, number))
    return existing


def next_part(target: Path) -> Path:
    """A part behind those of a recording; see `all_parts`."""
    return part_path(target, len(all_parts(target)) + 1)


def deleted(path: Path) -> OutputError:
    """The error that a file of a recording is no longer there."""
    return OutputError(f"{path} was deleted or renamed while the run recorded; leave it alone until the run has ended")
