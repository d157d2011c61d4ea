"""The header of a picture file: its size before anything is decoded."""

from __future__ import annotations

import re
import zlib
from io import BytesIO
from typing import BinaryIO, Final, Literal

from PIL import Image as PilImage

from streamseg.png import is_png

_PAM_SIDE: Final = re.compile(rb"^(WIDTH|HEIGHT)\s+(\d{1,9})\s", re.MULTILINE)
_PAM_BYTES: Final = 4096
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_BIG_TIFF: Final = 43
_SHORT: Final = 3
"""Type of a number of two bytes."""


def read_header(file: BinaryIO) -> PilImage.Image | None:
    """A picture of a kind that OpenCV and Pillow read, not yet decoded; None if the file is none or is damaged."""
    from PIL.AvifImagePlugin import AvifImageFile
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.GifImagePlugin import GifImageFile
    from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.PpmImagePlugin import PpmImageFile
    from PIL.SunImagePlugin import SunImageFile
    from PIL.TiffImagePlugin import TiffImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    # `PilImage.open` refuses large pictures by a limit of its own.
    for kind in (
        *(JpegImageFile, PngImageFile, WebPImageFile, AvifImageFile, TiffImageFile, GifImageFile, BmpImageFile),
        *(Jpeg2KImageFile, PpmImageFile, SunImageFile),
    ):
        file.seek(0)
        try:
            return kind(file)
        except (SyntaxError, ValueError, OSError, OverflowError, RuntimeError, PilImage.DecompressionBombError):
            continue
    return None


def stored_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a picture as it is stored; None if no reader knows them."""
    if is_png(content):
        intact = zlib.crc32(content[12:29]) == int.from_bytes(content[29:33])
        return (int.from_bytes(content[16:20]), int.from_bytes(content[20:24])) if intact else None
    if content.startswith(b"P7"):
        sides = {name: int(digits) for name, digits in _PAM_SIDE.findall(content[:_PAM_BYTES])}
        return (sides[b"WIDTH"], sides[b"HEIGHT"]) if len(sides) == 2 else None
    if content.startswith(b"GIF8"):
        return int.from_bytes(content[6:8], "little"), int.from_bytes(content[8:10], "little")
    if content.startswith((b"II", b"MM")):
        return _tiff_size(content)
    header = read_header(BytesIO(content))
    return None if header is None else header.size


def _tiff_size(content: bytes) -> tuple[int, int] | None:
    """The size of the first picture, also in the modes that Pillow refuses."""
    order: Literal["little", "big"] = "little" if content.startswith(b"II") else "big"

    def number(start: int, length: int) -> int:
        return int.from_bytes(content[start : start + length], order)

    big = number(2, 2) == _BIG_TIFF
    directory = number(8, 8) if big else number(4, 4)
    counted, entry, value = (8, 20, 12) if big else (2, 12, 8)
    start = directory + counted
    end = min(start + number(directory, counted) * entry, len(content))
    sides = {
        number(place, 2): number(place + value, 2 if number(place + 2, 2) == _SHORT else 4)
        for place in range(start, end, entry)
        if number(place, 2) in (_TIFF_WIDTH, _TIFF_HEIGHT)
    }
    return (sides[_TIFF_WIDTH], sides[_TIFF_HEIGHT]) if len(sides) == 2 else None
