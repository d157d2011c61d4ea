"""Reads pictures. Their size is checked before they are decoded."""

from __future__ import annotations

import os
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags

from streamseg.errors import SourceError, UsageError
from streamseg.messages import Image
from streamseg.orientation import Orientation
from streamseg.paths import irregularity
from streamseg.picture_header import read_header, stored_size
from streamseg.png import is_png, needed_chunks

IMAGE_SUFFIXES: Final = frozenset(
    (
        *(".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pam", ".pbm", ".pgm"),
        *(".png", ".pnm", ".ppm", ".ras", ".sr", ".tif", ".tiff", ".webp"),
    )
)
"""File name suffixes of pictures, in lower case."""
MOST_PIXELS: Final = 200_000_000
"""Pixels of a picture unless `STREAMSEG_MAX_PIXELS` gives another limit: the largest photographs of telephones."""
_LONGEST_SIDE: Final = 1_000_000
_OPENCV_PIXELS: Final = 1 << 30
"""OpenCV's limits of a picture; of a side it is libpng's."""
_PIXEL_BYTES: Final = 8
"""Of the largest pixel that is read: four channels of 16 bits."""


def read_image(path: Path) -> Image:
    """Read a picture as `cv2.imread` does: an array of shape (height, width, 3), uint8, BGR.

    Applies the EXIF orientation, converts grey to BGR and 16 bits to 8, and drops transparency. Of an animation it
    reads the first picture.

    Raises:
        SourceError: The file cannot be read, is not a regular file, or is not a complete picture in a format of OpenCV,
            or the picture is too large.
        UsageError: `STREAMSEG_MAX_PIXELS` is not a number of pixels.
    """
    limit = most_pixels()
    content = _read_file(path, limit)
    if (size := stored_size(content)) is not None and not _is_readable(size, limit):
        raise SourceError(f"{path} is too large, {size[0]}x{size[1]} pixels; {_limits(limit)}")
    image = None if size is None else _decode_upright(content)
    if image is None:
        raise SourceError(f"{path} {_reason(content, size)}")
    return image


def decode_picture(jpeg: bytes, width: int, height: int, *, may_turn: bool = False) -> Image | None:
    """Decode the picture of a message, shape (height, width, 3), uint8, BGR; None unless its header has that size.

    Args:
        jpeg: The picture.
        width: As stored.
        height: As stored.
        may_turn: Whether its EXIF orientation may swap height and width.
    """
    image = _decode_upright(jpeg) if stored_size(jpeg) == (width, height) else None
    shapes = ((height, width), (width, height))[: 1 + may_turn]
    return None if image is None or image.shape[:2] not in shapes else image


def most_pixels() -> int:
    """The largest number of pixels of a picture: `STREAMSEG_MAX_PIXELS`, or `MOST_PIXELS`.

    Raises:
        UsageError: The variable is not a number of pixels.
    """
    text = os.environ.get("STREAMSEG_MAX_PIXELS")
    if not text:
        return MOST_PIXELS
    if not (text.isascii() and text.isdigit() and len(text) < 11 and 0 < int(text) <= _OPENCV_PIXELS):
        raise UsageError(
            f"STREAMSEG_MAX_PIXELS {text[:40]!r}: expected a number of pixels from 1 to {_OPENCV_PIXELS}, "
            f"such as {MOST_PIXELS}"
        )
    return int(text)


def image_files(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted by name, without hidden files.

    Raises:
        SourceError: The folder cannot be read, or has no pictures.
    """
    files = [path for path in _entries(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        others = left_out(folder)
        held = f"it holds {others}" if others else "it is empty"
        raise SourceError(
            f"{folder} has no pictures, {held}; expected files that end in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return files


def left_out(folder: Path) -> str:
    """What else is in a folder, such as `2 .heic, 1 folder`; empty if there is nothing.

    Raises:
        SourceError: The folder cannot be read.
    """
    kinds = Counter(
        "folder" if path.is_dir() else path.suffix.lower() or "file without an ending"
        for path in _entries(folder)
        if path.suffix.lower() not in IMAGE_SUFFIXES
    )
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def is_still(path: Path) -> bool:
    """Whether a file is a picture that does not move, by its name and, where its kind may move, by its content."""
    if path.suffix.lower() not in (".avif", ".gif", ".webp"):
        return path.suffix.lower() in IMAGE_SUFFIXES
    try:
        if not path.is_file():
            return True
        with path.open("rb") as file:
            return getattr(read_header(file), "n_frames", 1) == 1
    except (OSError, EOFError, ValueError):  # `read_image` tells what is wrong
        return True


def is_upright(path: Path) -> bool:
    """Whether a picture is stored as it is shown, so that a reader that ignores EXIF shows it right."""
    try:
        content = path.read_bytes()
        if is_png(content) and b"eXIf" not in content:  # Pillow would decode it to look for the note behind the pixels
            return True
        picture = read_header(BytesIO(content))
        orientation = 1 if picture is None else picture.getexif().get(ExifTags.Base.Orientation, 1)
        return Orientation.from_exif(orientation) == Orientation()
    except (OSError, SyntaxError, ValueError):  # `read_image` tells what is wrong
        return True


def _read_file(path: Path, limit: int) -> bytes:
    """The content of a regular file that may hold a picture of at most that many pixels."""
    try:
        if other := irregularity(path):
            raise SourceError(f"{path} is {other}; expected a picture in a regular file")
        size = path.stat().st_size
        if size > limit * _PIXEL_BYTES:
            raise SourceError(f"{path} is too large, {size:,} bytes; {_limits(limit)}")
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}; expected a picture") from error


def _is_readable(size: tuple[int, int], limit: int) -> bool:
    return size[0] * size[1] <= limit and max(size) <= _LONGEST_SIDE


def _limits(limit: int) -> str:
    return (
        f"at most {_LONGEST_SIDE:,} pixels a side and {limit:,} in all are read: reduce it, "
        "or set STREAMSEG_MAX_PIXELS to read more"
    )


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder, sorted by name, without hidden ones."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise SourceError(
            f"{folder} cannot be read: {error.strerror or error}; expected a folder of pictures"
        ) from error


def _reason(content: bytes, size: tuple[int, int] | None) -> str:
    """Why a picture of that size, which may be read, could not be decoded."""
    samples = None if size is None or is_png(content) else _decode(content, cv2.IMREAD_UNCHANGED)
    if samples is not None:
        return f"holds {samples.dtype} samples; expected 8 or 16 bits without sign: convert it"
    return "is not a picture that OpenCV can read; expected a complete JPEG, PNG, WebP, AVIF, TIFF, GIF or BMP file"


def _decode_upright(content: bytes) -> Image | None:
    """Decode the content of a picture file whose size is checked; None if OpenCV cannot."""
    readable = needed_chunks(content) if is_png(content) else content
    if readable is None:
        return None
    decoded, turn = _decode(readable, cv2.IMREAD_COLOR), _avif_orientation(content)
    return None if decoded is None or turn is None else turn.apply(np.asarray(decoded, np.uint8))


def _avif_orientation(content: bytes) -> Orientation | None:
    """How an AVIF picture is turned, None if it is damaged; OpenCV turns the pictures of other formats itself."""
    if content[4:8] != b"ftyp":
        return Orientation()
    picture = read_header(BytesIO(content))
    if picture is None:
        return None
    return Orientation.from_exif(picture.getexif().get(ExifTags.Base.Orientation, 1))


def _decode(content: bytes, flags: int) -> NDArray[np.generic] | None:
    # OpenCV would also print each unreadable file on standard error.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
