"""Writes the golden vectors, which README.md beside this file explains: `PYTHONPATH=tests python -m golden.make`."""

from __future__ import annotations

from pathlib import Path

from golden.control import control_vectors
from golden.readable import either, events, later_minor_versions, odd_spellings, results
from golden.rejected import rejected, rejected_masks
from golden.vector import Vector

VECTORS = Path(__file__).parent / "vectors"
CONTROL = Path(__file__).parent / "requests"


def vectors() -> list[Vector]:
    """Every vector."""
    readable = [*results(), *odd_spellings(), *events(), *later_minor_versions()]
    return [*readable, *either(), *rejected(), *rejected_masks()]


def main() -> None:
    """Write one file for each vector, and remove those that are no more."""
    for folder, made in ((VECTORS, vectors()), (CONTROL, control_vectors())):
        folder.mkdir(exist_ok=True)
        wanted = {f"{vector.name}.json": vector.to_json() for vector in made}
        for path in folder.glob("*.json"):
            if path.name not in wanted:
                path.unlink()
        for name, text in wanted.items():
            (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
