"""Videos whose pictures show their own number, so that a test can tell which frames a file holds."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from streamseg.messages import Image

WIDTH, HEIGHT, BLOCK = 256, 64, 16
BITS = WIDTH // BLOCK


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> Image:
    """A picture that shows its number: a black or white block for each bit, above a slanted ramp."""
    image = np.zeros((height, width, 3), np.uint8)
    image[height // 2 :] = ((np.arange(width) + 3 * number) % 256)[None, :, None]
    block = width // BITS
    for bit in range(BITS):
        image[: height // 2, bit * block : (bit + 1) * block] = 255 if number >> bit & 1 else 0
    return image


def number_in(image: Image) -> int:
    """The number that a picture shows."""
    height, width = image.shape[:2]
    block = width // BITS
    centres = [int(image[height // 4, bit * block + block // 2].mean()) for bit in range(BITS)]
    assert all(value < 40 or value > 215 for value in centres), centres
    return sum(1 << bit for bit, value in enumerate(centres) if value > 127)


def pts(number: int) -> int:
    """Uneven times in nanoseconds, as a camera gives them."""
    return number * 33_366_667 + (number % 3) * 4_000_000


def played(path: Path) -> list[tuple[int, Fraction]]:
    """Number and time in seconds of every frame of a file, decoded."""
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            frames.append(
                (number_in(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)), frame.pts * frame.time_base)
            )
    return frames


def assert_plays(path: Path, numbers: range) -> None:
    """Check that a file holds exactly those frames, each at its time."""
    frames = played(path)
    assert [number for number, _ in frames] == list(numbers)
    for number, time in frames:
        assert abs(time - Fraction(pts(number), 10**9)) <= Fraction(1, 180_000)
