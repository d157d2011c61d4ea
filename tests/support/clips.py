"""Small clips in which every frame shows its own number."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

BITS = 6


def numbered(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """A BGR image whose left half is red and whose right half shows the number, one bar for each binary digit."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[:, : width // 2, 2] = 200
    for bit in range(BITS):
        image[bit * height // BITS : (bit + 1) * height // BITS, width // 2 :] = 255 * (number >> bit & 1)
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    """The number that a decoded frame shows."""
    height, width = image.shape[:2]
    bars = image[[(2 * bit + 1) * height // (2 * BITS) for bit in range(BITS)], width // 2 + 4 :]
    return sum(1 << bit for bit in range(BITS) if bars[bit].mean() > 128)


def cut_short(path: Path, share: float) -> Path:
    """Keep a share of the frames' bytes, and the header before them."""
    content = path.read_bytes()
    start = max(content.find(b"mdat"), content.find(b"movi"), 0)
    path.write_bytes(content[: start + int(share * (len(content) - start))])
    return path


def write_clip(
    path: Path,
    frames: int = 30,
    width: int = 64,
    height: int = 48,
    pixels: str = "yuv420p",
    codec: str = "libx264",
    fps: int = 30,
    keyframes: int = 10,
    pixel_aspect: Fraction = Fraction(1),
) -> Path:
    """Encode `frames` numbered images (modulo 64) and return the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.gop_size = keyframes
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        for number in range(frames):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(numbered(number % 64, width, height), format="bgr24"))
            )
        container.mux(stream.encode())
    return path
