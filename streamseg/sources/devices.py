"""The cameras of this machine; under Linux by Video4Linux2 (`linux/videodev2.h`)."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streamseg.errors import SourceError

LISTING: Final = "`streamseg devices` lists the cameras"

Ioctl = Callable[[int, int, bytearray], int]

VIDEO_CAPTURE = 1
DISCRETE = 1
"""Kind of sizes and intervals that the kernel lists one by one; other kinds are ranges, smallest and largest value."""

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


def offered_formats(device: Path, ioctl: Ioctl | None = None) -> tuple[str, ...]:
    """Formats of a camera, such as `mjpeg 1280x720@30`; empty for a device without video.

    Raises:
        OSError: The device cannot be opened.
    """
    if ioctl is None:
        import fcntl

        ioctl = fcntl.ioctl
    handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        return tuple(_formats(handle, ioctl))
    finally:
        os.close(handle)


def _formats(handle: int, ioctl: Ioctl) -> Iterator[str]:
    for _index, _type, _flags, _description, code, *_rest in _entries(
        ioctl, handle, ENUM_FORMATS, _FORMAT, (VIDEO_CAPTURE, 0, b"", 0)
    ):
        fourcc = code.to_bytes(4, "little").decode("ascii", "replace").strip()
        name = _NAMES.get(fourcc, fourcc.lower())
        for _index, _code, kind, *sides in _entries(ioctl, handle, ENUM_SIZES, _SIZE, (code,)):
            width, height = (sides[0], sides[1]) if kind == DISCRETE else (sides[1], sides[4])
            rate = max(_rates(handle, ioctl, code, width, height), default=None)
            yield f"{name} {width}x{height}" + (f"@{rate:g}" if rate else "")


def _rates(handle: int, ioctl: Ioctl, code: int, width: int, height: int) -> Iterator[float]:
    for entry in _entries(ioctl, handle, ENUM_INTERVALS, _INTERVAL, (code, width, height)):
        # Of a range, the first interval is the shortest.
        numerator, denominator = entry[5], entry[6]
        if numerator:
            yield round(denominator / numerator, 2)


def _entries(
    ioctl: Ioctl, handle: int, request: int, layout: struct.Struct, key: tuple[int | bytes, ...]
) -> Iterator[tuple[Any, ...]]:
    """The driver's entries 0, 1, 2 and so on."""
    fields = len(layout.unpack(bytes(layout.size)))
    for index in range(256):
        values = (index, *key)
        buffer = bytearray(layout.pack(*values, *(0,) * (fields - len(values))))
        try:
            ioctl(handle, request, buffer)
        except OSError:
            return
        entry = layout.unpack(buffer)
        yield entry
        if request != ENUM_FORMATS and entry[2 if request == ENUM_SIZES else 4] != DISCRETE:
            return


@dataclass(frozen=True, slots=True)
class CameraDevice:
    """One camera.

    Attributes:
        index: The number that selects it as a source.
        device: The system's name: a path under Linux, else a number or an identifier.
        name: The maker's name.
        formats: Such as `mjpeg 1280x720@30`; empty if unknown.
    """

    index: int
    device: str
    name: str
    formats: tuple[str, ...] = ()


def list_devices(
    platform: str = sys.platform,
    sysfs: Path = Path("/sys/class/video4linux"),
    offered: Callable[[Path], tuple[str, ...]] = offered_formats,
) -> list[CameraDevice]:
    """All cameras, sorted by number.

    Args:
        platform: As `sys.platform`.
        sysfs: Linux's list of video devices.
        offered: Returns the formats of a device under Linux.
    """
    if platform == "linux":
        return _linux_devices(sysfs, offered)
    return _listed_by_ffmpeg("avfoundation" if platform == "darwin" else "dshow")


def absent(camera: str, cameras: Sequence[CameraDevice]) -> SourceError:
    """The error of a camera that is none of those of this machine."""
    known = ", ".join(f"{one.index} ({one.name})" for one in cameras) or "none"
    return SourceError(f"there is no camera {camera}; cameras of this machine: {known}; {LISTING}")


def _linux_devices(sysfs: Path, offered: Callable[[Path], tuple[str, ...]]) -> list[CameraDevice]:
    nodes = [
        (int(node.name.removeprefix("video")), node)
        for node in sysfs.glob("video*")
        if node.name.removeprefix("video").isdecimal()
    ]
    cameras: list[CameraDevice] = []
    for number, node in sorted(nodes):
        device = f"/dev/{node.name}"
        name = (node / "name").read_text(encoding="utf-8", errors="replace").strip()
        try:
            formats = offered(Path(device))
        except OSError:
            # Busy or forbidden, but present.
            cameras.append(CameraDevice(number, device, name))
            continue
        # A camera's second node, for metadata, offers no pictures.
        if formats:
            cameras.append(CameraDevice(number, device, name, formats))
    return cameras


def _listed_by_ffmpeg(system: str) -> list[CameraDevice]:
    import av

    try:
        found = av.enumerate_input_devices(system)
    except av.FFmpegError:
        # FFmpeg reports "no camera at all" as an input/output error.
        return []
    videos = [device for device in found if "video" in device.media_types]
    return [CameraDevice(index, device.name, device.description or device.name) for index, device in enumerate(videos)]
