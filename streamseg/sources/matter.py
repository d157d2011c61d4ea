"""What drawn objects are made of: outlines and textures, by chance."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.messages import Image

_COLOURED = 0.3
"""How much patches differ in colour, beside how much they differ in brightness."""
_CORNERS = 72


def outlined(chance: np.random.Generator, half_height: float, half_width: float) -> NDArray[np.float64]:
    """An ellipse with a few bulges and dents: its corners around the origin, x and y, shape (points, 2)."""
    angles = np.linspace(0, 2 * math.pi, _CORNERS, endpoint=False)
    bulges = sum(
        chance.uniform(0.3, 1.0) * 0.22 / wave * np.sin(wave * angles + chance.uniform(0, 2 * math.pi))
        for wave in range(2, 7)
    )
    radius = 1 + bulges
    return np.stack((half_width * radius * np.cos(angles), half_height * radius * np.sin(angles)), axis=1)


def textured(chance: np.random.Generator, height: int, width: int, *, contrast: float) -> Image:
    """A colour under patches of light and shade of every size, the finer the fainter, as pictures of nature have them.

    Args:
        chance: Where chance comes from.
        height: In pixels.
        width: The same.
        contrast: About how much the largest patches differ, in grey levels.
    """
    light = np.full((height, width, 3), chance.uniform(60, 195, 3), np.float32)
    cells = 2
    while cells <= max(height, width):
        rows, columns = (max(2, cells * side // max(height, width)) for side in (height, width))
        patches = (
            chance.standard_normal((rows, columns, 1)) + _COLOURED * chance.standard_normal((rows, columns, 3))
        ).astype(np.float32)
        light += (
            contrast * cells**-0.4 * np.asarray(cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC))
        )
        cells *= 2
    texture: Image = np.clip(light, 0, 255).astype(np.uint8)
    return texture
