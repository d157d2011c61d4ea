"""Nano, a small segmenter: box in, mask out. Its weights are part of the package."""

from __future__ import annotations

from typing import Final

SIDE: Final = 96
"""Side of the network's input in pixels."""
