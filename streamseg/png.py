"""The chunks of a PNG file.

libpng prints what it finds wrong with a file on standard error: damage, and harmless extras such as an old colour
profile. What is left here, it reads in silence.
"""

from __future__ import annotations

import zlib
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_NEEDED: Final = frozenset((b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"))
"""What determines the pixels of the picture and its orientation."""
_AROUND: Final = 12
"""Bytes of a chunk beside its data: length, name, checksum."""


def is_png(content: bytes) -> bool:
    """Whether a file's content starts as a PNG's."""
    return content.startswith(_SIGNATURE)


def needed_chunks(content: bytes) -> bytes | None:
    """The same picture without the chunks that do not matter to it; None if it is incomplete or damaged."""
    kept = [_SIGNATURE]
    start = len(_SIGNATURE)
    while start + _AROUND <= len(content):
        name = content[start + 4 : start + 8]
        end = start + _AROUND + int.from_bytes(content[start : start + 4])
        if name in _NEEDED:
            chunk = content[start:end]
            if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:]):
                return None
            kept.append(chunk)
        if name == b"IEND":
            return b"".join(kept)
        start = end
    return None
