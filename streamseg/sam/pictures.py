"""Reads pictures from files, folders, arrays and Pillow images."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from streamseg.errors import SourceError
from streamseg.images import image_files, left_out, read_image
from streamseg.messages import Image
from streamseg.paths import local_path

_log = logging.getLogger(__name__)

PictureSource = str | Path | NDArray[Any] | PilImage.Image
"""A file, a folder of files, an array in OpenCV's order of channels, or a Pillow image."""


def read_pictures(source: PictureSource | Sequence[PictureSource]) -> Iterator[Image]:
    """Yield each picture as an array of shape (height, width, 3), uint8, BGR.

    Args:
        source: One or more of: a file, rotated by its Exif orientation; a folder, all of whose pictures are read in the
            order of their names; an array of shape (height, width, 3) BGR, (height, width, 4) BGRA or (height, width)
            grey, uint8; a Pillow image, as it is. Transparency is dropped.

    Raises:
        SourceError: A source is none of these, or cannot be read.
    """
    if isinstance(source, str | Path):
        path = local_path(source, "a path, an array, a Pillow image or a list")
        yield from map(read_image, _files(path))
    elif isinstance(source, np.ndarray):
        yield _from_array(source)
    elif isinstance(source, PilImage.Image):
        yield _from_pillow(source)
    elif isinstance(source, Sequence):
        for one in source:
            yield from read_pictures(one)
    else:
        raise SourceError(f"{type(source).__name__} is not a picture; give a path, an array, a Pillow image or a list")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = image_files(path)
    if others := left_out(path):
        _log.warning("left out of %s: %s; only its pictures are read", path, others)
    return files


def _from_array(array: NDArray[Any]) -> Image:
    grey = array.ndim == 2
    if array.dtype != np.uint8 or array.size == 0 or not (grey or (array.ndim == 3 and array.shape[2] in (3, 4))):
        expected = "(height, width, 3) BGR, (height, width, 4) BGRA or (height, width) grey"
        raise SourceError(
            f"an array of {array.dtype}{array.shape} is not a picture; expected uint8 of shape {expected}"
        )
    return (
        np.asarray(cv2.cvtColor(array, cv2.COLOR_GRAY2BGR), np.uint8) if grey else np.ascontiguousarray(array[..., :3])
    )


def _from_pillow(image: PilImage.Image) -> Image:
    # Pillow clips these at 255 instead of scaling them.
    if image.mode.startswith(("I", "F")):
        raise SourceError(
            f"a Pillow image in mode {image.mode!r} has more than 8 bits; convert it to 'RGB' or 'L' first"
        )
    return np.ascontiguousarray(np.asarray(image.convert("RGB"), np.uint8)[..., ::-1])
