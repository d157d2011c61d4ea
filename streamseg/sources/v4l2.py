"""What a camera under Linux offers, asked from the kernel (Video4Linux2, `linux/videodev2.h`)."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Ioctl = Callable[[int, int, bytearray], int]

VIDEO_CAPTURE = 1
DISCRETE = 1
"""Sizes and intervals are listed one by one; other kinds give a range, of which the last word is the largest."""

_FORMAT = struct.Struct("=3I32s5I")
_SIZE = struct.Struct("=3I6I2I")
_INTERVAL = struct.Struct("=5I6I2I")


def _read_write_code(number: int, size: int) -> int:
    """The kernel's `_IOWR('V', number, size)`."""
    return (3 << 30) | (size << 16) | (ord("V") << 8) | number


ENUM_FORMATS = _read_write_code(2, _FORMAT.size)
ENUM_SIZES = _read_write_code(74, _SIZE.size)
ENUM_INTERVALS = _read_write_code(75, _INTERVAL.size)

_NAMES = {"MJPG": "mjpeg", "JPEG": "mjpeg", "YUYV": "yuyv422", "UYVY": "uyvy422", "GREY": "gray"}


def offered(device: Path, ioctl: Ioctl | None = None) -> tuple[str, ...]:
    """What the camera offers, as `mjpeg 1280x720@30`; empty where the device captures no video.

    Raises:
        OSError: The device cannot be opened.
    """
    if ioctl is None:
        import fcntl

        ioctl = fcntl.ioctl
    handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        return tuple(_offers(handle, ioctl))
    finally:
        os.close(handle)


def _offers(handle: int, ask: Ioctl) -> Iterator[str]:
    for _index, _type, _flags, _description, code, *_rest in _answers(
        ask, handle, ENUM_FORMATS, _FORMAT, (VIDEO_CAPTURE, 0, b"", 0)
    ):
        fourcc = code.to_bytes(4, "little").decode("ascii", "replace").strip()
        name = _NAMES.get(fourcc, fourcc.lower())
        for _index, _code, kind, *sides in _answers(ask, handle, ENUM_SIZES, _SIZE, (code,)):
            width, height = (sides[0], sides[1]) if kind == DISCRETE else (sides[1], sides[4])
            rate = max(_rates(handle, ask, code, width, height), default=None)
            yield f"{name} {width}x{height}" + (f"@{rate:g}" if rate else "")


def _rates(handle: int, ask: Ioctl, code: int, width: int, height: int) -> Iterator[float]:
    for answer in _answers(ask, handle, ENUM_INTERVALS, _INTERVAL, (code, width, height)):
        # Of a range, the first interval is the shortest.
        numerator, denominator = answer[5], answer[6]
        if numerator:
            yield round(denominator / numerator, 2)


def _answers(
    ask: Ioctl, handle: int, request: int, layout: struct.Struct, question: tuple[int | bytes, ...]
) -> Iterator[tuple[Any, ...]]:
    """Ask for number 0, 1, 2 and so on until the driver has no more."""
    fields = len(layout.unpack(bytes(layout.size)))
    for index in range(256):
        asked = (index, *question)
        buffer = bytearray(layout.pack(*asked, *(0,) * (fields - len(asked))))
        try:
            ask(handle, request, buffer)
        except OSError:
            return
        answer = layout.unpack(buffer)
        yield answer
        if request != ENUM_FORMATS and answer[2 if request == ENUM_SIZES else 4] != DISCRETE:
            return
