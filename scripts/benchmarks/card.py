"""Draws the picture of nano's model card from photographs that scikit-image ships."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from skimage import data

from streamseg.geometry import Box
from streamseg.messages import Image
from streamseg.models.segmenters.nano.drawing import draw_masks
from streamseg.models.segmenters.nano.network_file import OnnxNetwork

FOLDER = Path(__file__).parents[2] / "streamseg" / "models" / "segmenters" / "nano"
TILE = 320
CASES: tuple[tuple[str, Box], ...] = (
    ("chelsea", (5, 5, 450, 299)),
    ("coffee", (172, 15, 430, 320)),
    ("rocket", (300, 118, 348, 418)),
    ("astronaut", (165, 10, 300, 205)),
    ("astronaut", (15, 0, 445, 511)),
    ("astronaut", (395, 20, 500, 490)),
    ("coffee", (232, 225, 385, 330)),
    ("motorcycle", (60, 40, 690, 480)),
)
"""Four good masks, then four bad ones."""


def draw_card() -> None:
    """Write one picture with a tile for each case."""
    network = OnnxNetwork()
    tiles = [_tile(_photograph(name), box, network) for name, box in CASES]
    rows = [np.hstack(tiles[first : first + 4]) for first in range(0, len(tiles), 4)]
    cv2.imwrite(str(FOLDER / "card.jpg"), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 85])


def _photograph(name: str) -> Image:
    rgb = getattr(data, "stereo_motorcycle" if name == "motorcycle" else name)()
    if name == "motorcycle":
        rgb = rgb[0]
    return np.ascontiguousarray(rgb[..., 2::-1])


def _tile(image: Image, box: Box, network: OnnxNetwork) -> Image:
    (drawn,) = draw_masks(network, image, [box])
    shown = image.copy()
    if drawn.mask is not None:
        covered = drawn.mask.paste(*image.shape[:2])
        shown[covered] = (shown[covered] * 0.5 + np.array((0, 80, 255)) * 0.5).astype(np.uint8)
    left, top, right, bottom = (round(edge) for edge in box)
    cv2.rectangle(shown, (left, top), (right, bottom), (255, 255, 255), 2)
    scale = TILE / max(shown.shape[:2])
    small = cv2.resize(shown, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    tile[: small.shape[0], : small.shape[1]] = small
    cv2.putText(tile, f"{drawn.predicted_iou:.2f}", (8, TILE - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 2)
    return tile
