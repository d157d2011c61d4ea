"""Nano, a small segmenter: a box or points in, mask out. Its weights are part of the package."""

from __future__ import annotations

from typing import Final

HINT_PLANES: Final = 5
"""Planes beside the picture: the box; the prior; ones if there is a prior; points on the object; points beside it."""
