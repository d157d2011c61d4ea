"""Reads pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from streamseg.errors import SourceError
from streamseg.messages import Image

IMAGE_SUFFIXES: Final = frozenset((".avif", ".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
"""File name suffixes of pictures, in lower case."""


def read_image(path: Path) -> Image:
    """Read a picture as `cv2.imread` does: an array of shape (height, width, 3), uint8, BGR.

    Applies the EXIF orientation, converts grey to BGR and 16 bits to 8, and drops transparency.

    Raises:
        SourceError: The file cannot be read, or is not a complete picture in a format of OpenCV.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}; expected a picture") from error
    image = _decode(content)
    if image is None:
        raise SourceError(
            f"{path} is not a picture that OpenCV can read; expected a complete JPEG, PNG, WebP, TIFF or BMP file"
        )
    return image


def image_files(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted by name, without hidden files.

    Raises:
        SourceError: The folder cannot be read, or has no pictures.
    """
    try:
        files = sorted(
            path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        )
    except OSError as error:
        raise SourceError(
            f"{folder} cannot be read: {error.strerror or error}; expected a folder of pictures"
        ) from error
    if not files:
        raise SourceError(f"{folder} has no pictures; expected files that end in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return files


def _decode(content: bytes) -> Image | None:
    # OpenCV would also print each unreadable file on standard error.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    return None if decoded is None else np.asarray(decoded, np.uint8)
