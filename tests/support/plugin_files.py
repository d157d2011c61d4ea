"""Writes small plug-ins as an installer does: a module and its distribution metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def offer(folder: Path, kind: Literal["detector", "segmenter"], name: str, code: str, package: str = "broken") -> None:
    """Write a module with this code, and a distribution whose entry point `name` is its `make`.

    `folder` must be on the path.
    """
    (folder / f"{package}_code.py").write_text(code, encoding="utf-8")
    information = folder / f"{package}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    (information / "entry_points.txt").write_text(
        f"[streamseg.{kind}s]\n{name} = {package}_code:make\n", encoding="utf-8"
    )
