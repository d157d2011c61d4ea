"""What cameras do to a picture: light, colour, blur, noise, compression."""

from __future__ import annotations

import cv2
import numpy as np

from streamseg.messages import Image


def as_filmed(image: Image, rng: np.random.Generator) -> Image:
    """A picture of shape (height, width, 3), uint8, BGR, as one camera or another might have shown it."""
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
    """Other light: gain, colour, gamma, saturation; now and then near darkness, or no colour at all."""
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
    """As if the object had been small in the frame."""
    height, width = image.shape[:2]
    scale = rng.uniform(0.25, 0.8)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _moved(image: Image, rng: np.random.Generator) -> Image:
    """Motion blur along a line, or a lens that is out of focus."""
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
