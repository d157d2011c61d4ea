"""Random changes of training samples: inaccurate boxes, effects of cameras, and stale masks."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.messages import Image

DETECTOR_SPREAD: Final = 0.05
"""Standard deviation of a fair detector's edges, as a share of the box's sides."""


def jittered(box: Box, spread: float, rng: np.random.Generator) -> Box:
    """Move each edge of a box at random; `spread` is the standard deviation, as a share of the box's sides."""
    width, height = box[2] - box[0], box[3] - box[1]
    left, top, right, bottom = np.array(box) + rng.normal(0, spread, 4) * (width, height, width, height)
    return float(left), float(top), float(right), float(bottom)


def as_filmed(image: Image, rng: np.random.Generator) -> Image:
    """Apply random effects of cameras to a picture of shape (height, width, 3), uint8, BGR."""
    image = _lit(image, rng)
    if rng.random() < 0.07:
        image = _coarse(image, rng)
    if rng.random() < 0.07:
        image = _moved(image, rng)
    if rng.random() < 0.07:
        image = _noisy(image, rng)
    if rng.random() < 0.07:
        image = _compressed(image, rng)
    return image


def _lit(image: Image, rng: np.random.Generator) -> Image:
    """Change gain, colour, gamma and saturation; rarely to near darkness or to grey."""
    dark = rng.random() < 0.03
    gain = rng.uniform(0.15, 0.4) if dark else rng.uniform(0.7, 1.3)
    gains = gain * rng.uniform(0.9, 1.1, 3)
    gamma = np.exp(rng.normal(0, 0.15))
    levels = np.clip((np.arange(256)[:, None] / 255) ** gamma * gains[None, :] * 255 + rng.uniform(-15, 15), 0, 255)
    lit = cv2.LUT(image, levels.astype(np.uint8).reshape(256, 1, 3))
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.6, 1.4)
    grey = cv2.cvtColor(cv2.cvtColor(lit, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.addWeighted(lit, saturation, grey, 1 - saturation, 0), np.uint8)


def _coarse(image: Image, rng: np.random.Generator) -> Image:
    """Lose detail, like a small object in the frame."""
    height, width = image.shape[:2]
    scale = rng.uniform(0.25, 0.8)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _moved(image: Image, rng: np.random.Generator) -> Image:
    """Blur along a line by motion, or evenly by lack of focus."""
    if rng.random() < 0.4:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0)), np.uint8)
    length = int(rng.integers(3, 12))
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    angle = rng.uniform(0, np.pi)
    reach = np.array((np.cos(angle), np.sin(angle))) * middle
    first, last = np.round(middle - reach).astype(int), np.round(middle + reach).astype(int)
    cv2.line(kernel, (int(first[0]), int(first[1])), (int(last[0]), int(last[1])), 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def _noisy(image: Image, rng: np.random.Generator) -> Image:
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, 14))
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _compressed(image: Image, rng: np.random.Generator) -> Image:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 70))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


Plane = NDArray[np.float32]


def stale(mask: Plane, rng: np.random.Generator) -> Plane:
    """Turn a true mask into a stale one: moved, bent, grown or shrunk, with missing and superfluous parts.

    Args:
        mask: Shape (side, side), 0 to 1.
        rng: Random generator.

    Returns:
        The same shape, 0 or 1.
    """
    # Many propagated masks are good; the network must leave those unchanged.
    severity = rng.uniform(0, 0.1) if rng.random() < 0.35 else rng.beta(0.8, 2.2)
    prior = _bent(mask, rng, severity)
    if rng.random() < 0.5:
        prior = _grown(prior, rng, severity)
    if rng.random() < 0.35:
        prior = _patched(prior, rng, severity)
    return (prior > 0.5).astype(np.float32)


def _bent(mask: Plane, rng: np.random.Generator, severity: float) -> Plane:
    """Move and turn the whole mask, and bend it by a smooth random flow."""
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
    reach = 1 + int(rng.integers(0, 2 + round(severity * mask.shape[0] / 12)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    return np.asarray(cv2.dilate(mask, kernel) if rng.random() < 0.5 else cv2.erode(mask, kernel), np.float32)


def _patched(mask: Plane, rng: np.random.Generator, severity: float) -> Plane:
    """Remove ellipses, and add others."""
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
