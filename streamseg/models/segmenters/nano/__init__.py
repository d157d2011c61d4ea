"""The small segmenter of our own: box in, mask out, its weights inside the package."""

from __future__ import annotations

from typing import Final

SIDE: Final = 96
"""Pixels of the network's square."""
