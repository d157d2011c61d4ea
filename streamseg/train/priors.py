"""Masks that are out of date: what propagation leaves of the true one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


def stale(mask: Plane, rng: np.random.Generator) -> Plane:
    """A true mask as it might arrive after some frames: moved, bent, grown or shrunk, with parts lost and parts too many.

    Args:
        mask: Shape (side, side), 0 to 1.
        rng: Where chance comes from.

    Returns:
        The same shape, 0 or 1.
    """
    # Many are good, as they are after a few frames: those have to be left as they are.
    severity = rng.uniform(0, 0.1) if rng.random() < 0.35 else rng.beta(0.8, 2.2)
    prior = _bent(mask, rng, severity)
    if rng.random() < 0.5:
        prior = _grown(prior, rng, severity)
    if rng.random() < 0.35:
        prior = _patched(prior, rng, severity)
    return (prior > 0.5).astype(np.float32)


def _bent(mask: Plane, rng: np.random.Generator, severity: float) -> Plane:
    """Moved and turned as a whole, and by a smooth random flow."""
    side = mask.shape[0]
    turn, scale = rng.normal(0, 0.25) * severity, np.exp(rng.normal(0, 0.18, 2) * severity)
    shift = rng.normal(0, 0.12, 2) * severity * side
    y, x = np.mgrid[:side, :side].astype(np.float32)
    centred_x, centred_y = x - side / 2, y - side / 2
    turned_x = (np.cos(turn) * centred_x - np.sin(turn) * centred_y) * scale[0] + side / 2 + shift[0]
    turned_y = (np.sin(turn) * centred_x + np.cos(turn) * centred_y) * scale[1] + side / 2 + shift[1]
    coarse = int(rng.integers(3, 9))
    flow = rng.standard_normal((coarse, coarse, 2), np.float32) * np.float32(0.07 * severity * side)
    bend = cv2.resize(flow, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(
        cv2.remap(
            mask,
            (turned_x + bend[..., 0]).astype(np.float32),
            (turned_y + bend[..., 1]).astype(np.float32),
            cv2.INTER_LINEAR,
        ),
        np.float32,
    )


def _grown(mask: Plane, rng: np.random.Generator, severity: float) -> Plane:
    reach = 1 + int(rng.integers(0, 2 + round(8 * severity)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    return np.asarray(cv2.dilate(mask, kernel) if rng.random() < 0.5 else cv2.erode(mask, kernel), np.float32)


def _patched(mask: Plane, rng: np.random.Generator, severity: float) -> Plane:
    """Ellipses that were lost, and others that stuck to the background."""
    patched = mask.copy()
    side = mask.shape[0]
    for _ in range(int(rng.integers(1, 4))):
        centre = rng.uniform(0.1, 0.9, 2) * side
        axes = rng.uniform(0.03, 0.08 + 0.2 * severity, 2) * side
        value = float(rng.random() < 0.4)
        cv2.ellipse(
            patched, ((centre[0], centre[1]), (2 * axes[0], 2 * axes[1]), rng.uniform(0, 180)), value, cv2.FILLED
        )
    return patched
