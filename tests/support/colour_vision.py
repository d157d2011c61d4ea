"""How far colours are apart for normal and for colour-blind eyes, in OKLab (Ottosson 2020).

Colour-blind sight is simulated after Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of
Color Vision Deficiency", 2009, at full severity.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIGHTS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(colours: Sequence[str]) -> NDArray[np.float64]:
    """Linear red, green and blue of colours given as `#rrggbb`: shape (colours, 3)."""
    encoded = np.array([list(bytes.fromhex(colour[1:])) for colour in colours]) / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    return float(linear([colour])[0] @ (0.2126, 0.7152, 0.0722))


def least_distance(colours: Sequence[str], sight: str) -> float:
    """The distance of the two colours that are closest for these eyes; a difference of 0.02 is just noticeable."""
    seen = np.clip(linear(colours) @ SIGHTS[sight].T, 0, 1)
    lab = np.cbrt(seen @ _CONES.T) @ _LAB.T
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    return float(distances[np.triu_indices(len(colours), 1)].min())
