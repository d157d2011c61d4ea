"""The cameras of this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av

from streamseg.sources import v4l2


@dataclass(frozen=True, slots=True)
class CameraDevice:
    """One camera.

    Attributes:
        index: The number by which it is chosen as a source.
        device: What the system calls it: a path under Linux, else a number or an identifier.
        name: The maker's name.
        formats: What it offers, as `mjpeg 1280x720@30`; empty where that cannot be asked.
    """

    index: int
    device: str
    name: str
    formats: tuple[str, ...] = ()


def list_devices(
    platform: str = sys.platform,
    sysfs: Path = Path("/sys/class/video4linux"),
    offered: Callable[[Path], tuple[str, ...]] = v4l2.offered,
) -> list[CameraDevice]:
    """All cameras, by number; empty where there is none.

    Args:
        platform: As `sys.platform`.
        sysfs: Where Linux lists its video devices.
        offered: Asks a device under Linux what it offers.
    """
    if platform == "linux":
        return _linux_devices(sysfs, offered)
    return _listed_by_ffmpeg("avfoundation" if platform == "darwin" else "dshow")


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
            # Busy or forbidden: it is there all the same.
            cameras.append(CameraDevice(number, device, name))
            continue
        # A second node of the same camera, for its metadata, offers no pictures.
        if formats:
            cameras.append(CameraDevice(number, device, name, formats))
    return cameras


def _listed_by_ffmpeg(system: str) -> list[CameraDevice]:
    try:
        found = av.enumerate_input_devices(system)
    except av.FFmpegError:
        # FFmpeg reports "no camera at all" as an input/output error.
        return []
    videos = [device for device in found if "video" in device.media_types]
    return [CameraDevice(index, device.name, device.description or device.name) for index, device in enumerate(videos)]
