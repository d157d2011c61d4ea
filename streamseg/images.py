"""Reads pictures."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags
from PIL import Image as PilImage

from streamseg.errors import SourceError
from streamseg.messages import Image
from streamseg.orientation import Orientation
from streamseg.png import is_png, needed_chunks, png_size

IMAGE_SUFFIXES: Final = frozenset(
    (
        *(".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pam", ".pbm", ".pgm"),
        *(".png", ".pnm", ".ppm", ".ras", ".sr", ".tif", ".tiff", ".webp"),
    )
)
"""File name suffixes of pictures, in lower case."""
_MOST_PIXELS: Final = 1 << 30
_LONGEST_SIDE: Final = 1_000_000
"""OpenCV's limits of a picture; of a side it is libpng's."""


def read_image(path: Path) -> Image:
    """Read a picture as `cv2.imread` does: an array of shape (height, width, 3), uint8, BGR.

    Applies the EXIF orientation, converts grey to BGR and 16 bits to 8, and drops transparency. Of an animation it
    reads the first picture.

    Raises:
        SourceError: The file cannot be read, or is not a complete picture in a format of OpenCV.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}; expected a picture") from error
    image = decode_image(content)
    if image is None:
        raise SourceError(f"{path} {_reason(content)}")
    return image


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


def decode_image(content: bytes) -> Image | None:
    """Decode the content of a picture file as `read_image` does; None if OpenCV cannot."""
    readable = content
    if is_png(content):
        needed = needed_chunks(content)
        if needed is None or max(png_size(needed)) > _LONGEST_SIDE:
            return None
        readable = needed
    decoded, turn = _decode(readable, cv2.IMREAD_COLOR), _avif_orientation(content)
    return None if decoded is None or turn is None else turn.apply(np.asarray(decoded, np.uint8))


def is_still(path: Path) -> bool:
    """Whether a file is a picture that does not move, by its name and, where its kind may move, by its content."""
    if path.suffix.lower() not in (".avif", ".gif", ".webp"):
        return path.suffix.lower() in IMAGE_SUFFIXES
    try:
        with PilImage.open(path) as picture:
            return getattr(picture, "n_frames", 1) == 1
    except (OSError, ValueError):  # `read_image` tells what is wrong
        return True


def is_upright(path: Path) -> bool:
    """Whether a picture is stored as it is shown, so that a reader that ignores EXIF shows it right."""
    try:
        content = path.read_bytes()
        if is_png(content) and b"eXIf" not in content:  # Pillow would decode it to look for the note behind the pixels
            return True
        picture = _header(content) or PilImage.open(BytesIO(content))
        return Orientation.from_exif(picture.getexif().get(ExifTags.Base.Orientation, 1)) == Orientation()
    except (OSError, SyntaxError, ValueError):  # `read_image` tells what is wrong
        return True


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder, sorted by name, without hidden ones."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise SourceError(
            f"{folder} cannot be read: {error.strerror or error}; expected a folder of pictures"
        ) from error


def _reason(content: bytes) -> str:
    """Why a picture could not be decoded."""
    header = _header(content)
    size = (0, 0) if header is None else header.size
    if size[0] * size[1] > _MOST_PIXELS or max(size) > _LONGEST_SIDE:
        return (
            f"is too large, {size[0]}x{size[1]} pixels; at most {_LONGEST_SIDE:,} pixels a side "
            f"and {_MOST_PIXELS:,} in all are read: reduce it"
        )
    samples = None if is_png(content) else _decode(content, cv2.IMREAD_UNCHANGED)
    if samples is not None:
        return f"holds {samples.dtype} samples; expected 8 or 16 bits without sign: convert it"
    return "is not a picture that OpenCV can read; expected a complete JPEG, PNG, WebP, AVIF, TIFF, GIF or BMP file"


def _header(content: bytes) -> PilImage.Image | None:
    """A picture of a kind that may be too large, not yet decoded; None if the file is of another kind or damaged."""
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.TiffImagePlugin import TiffImageFile

    # `PilImage.open` refuses large pictures.
    for kind in (PngImageFile, JpegImageFile, TiffImageFile, BmpImageFile, Jpeg2KImageFile):
        try:
            return kind(BytesIO(content))
        except (SyntaxError, ValueError, OSError):
            continue
    return None


def _avif_orientation(content: bytes) -> Orientation | None:
    """How an AVIF picture is turned, None if it is damaged; OpenCV turns the pictures of other formats itself."""
    if content[4:8] != b"ftyp":
        return Orientation()
    try:
        with PilImage.open(BytesIO(content)) as picture:
            return Orientation.from_exif(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except OSError:
        return None


def _decode(content: bytes, flags: int) -> NDArray[np.generic] | None:
    # OpenCV would also print each unreadable file on standard error.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
