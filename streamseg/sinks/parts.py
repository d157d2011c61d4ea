"""The part files of a recording: each start of the recording process writes a new one beside those before it.

The first part is the file that the user named, `out.mp4`; the next ones are `out.part-2.mp4`, `out.part-3.mp4`, ...
"""

from __future__ import annotations

import re
from pathlib import Path


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


def next_part(target: Path) -> Path:
    """A part behind all existing ones."""
    number = 1
    while part_path(target, number).exists():
        number += 1
    return part_path(target, number)
