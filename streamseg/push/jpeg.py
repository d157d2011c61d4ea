"""The size in the header of a JPEG file, without a library that reads pictures."""

from __future__ import annotations

from typing import Final

_START: Final = b"\xff\xd8"
_SCAN: Final = 0xDA
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of the segment that has the size; the three between them have tables."""


def jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Width and height; None if this is not the beginning of a JPEG file."""
    if bytes(data[:2]) != _START:
        return None
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a marker may have any number of fill bytes before it
            place += 1
        elif marker in _WITHOUT_LENGTH:
            place += 2
        elif marker in _FRAMES:
            return _number(data, place + 7), _number(data, place + 5)
        elif marker == _SCAN:
            return None
        else:
            place += 2 + max(2, _number(data, place + 2))
    return None


def _number(data: bytes | memoryview, place: int) -> int:
    return int.from_bytes(data[place : place + 2], "big")
