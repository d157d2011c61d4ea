"""Writes the golden vectors, which README.md beside this file explains: `PYTHONPATH=tests python -m golden.make`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from golden.control import ControlVector, control_vectors
from golden.frame_messages import frame_vectors
from golden.readable import either, events, later_minor_versions, odd_spellings, results
from golden.rejected import rejected, rejected_masks
from golden.vector import Vector

VECTORS = Path(__file__).parent / "vectors"
CONTROL = Path(__file__).parent / "requests"
FRAMES = Path(__file__).parent / "frames"
"""Of messages between a program that sends frames and a pipeline."""


def vectors() -> list[Vector]:
    """Every vector."""
    readable = [*results(), *odd_spellings(), *events(), *later_minor_versions()]
    return [*readable, *either(), *rejected(), *rejected_masks()]


def main() -> None:
    """Write one file for each vector, and remove those that are no more."""
    write(VECTORS, vectors())
    write(CONTROL, control_vectors())
    write(FRAMES, frame_vectors())


def write(folder: Path, made: Sequence[Vector | ControlVector]) -> None:
    """Make a folder hold these vectors alone."""
    folder.mkdir(exist_ok=True)
    wanted = {f"{vector.name}.json": vector.to_json() for vector in made}
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
