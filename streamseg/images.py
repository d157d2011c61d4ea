"""Reads pictures from files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from streamseg.errors import SourceError
from streamseg.messages import Image

IMAGE_SUFFIXES: Final = frozenset((".avif", ".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
"""What the names of pictures end in, in lower case."""


def read_image(path: Path) -> Image:
    """Read a picture as an array of shape (height, width, 3), uint8, BGR, as `cv2.imread` does.

    It is turned upright where the camera noted how it was held; grey becomes BGR, transparency is dropped, 16 bits become 8.

    Raises:
        SourceError: The file cannot be read, or is no complete picture in a format that OpenCV reads.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}; expected a picture") from error
    image = _decode(content)
    if image is None:
        raise SourceError(
            f"{path} is not a picture that can be read; expected a complete JPEG, PNG, WebP, TIFF or BMP file"
        )
    return image


def image_files(folder: Path) -> list[Path]:
    """The pictures that lie in a folder, by `IMAGE_SUFFIXES`, in the order of their names; hidden files are none.

    Raises:
        SourceError: The folder cannot be read, or holds no picture.
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
        raise SourceError(f"{folder} holds no picture; expected files that end in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return files


def _decode(content: bytes) -> Image | None:
    # OpenCV writes of each file that it cannot read on standard error, and the error that is raised says enough.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    return None if decoded is None else np.asarray(decoded, np.uint8)
