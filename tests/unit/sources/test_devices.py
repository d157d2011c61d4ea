from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import av
import pytest

from streamseg.sources import devices
from streamseg.sources.devices import CameraDevice, list_devices


def add_node(sysfs: Path, number: int, name: str) -> None:
    node = sysfs / f"video{number}"
    node.mkdir(parents=True)
    (node / "name").write_text(name + "\n")


def test_linux_lists_capture_devices_by_number(tmp_path: Path) -> None:
    for number, name in ((10, "Busy"), (0, "Integrated"), (1, "Integrated"), (2, "USB Camera")):
        add_node(tmp_path, number, name)
    (tmp_path / "vbi0").mkdir()

    def offered(device: Path) -> tuple[str, ...]:
        if device.name == "video10":
            raise PermissionError(device)
        return () if device.name == "video1" else ("mjpeg 1280x720@30",)

    assert list_devices("linux", tmp_path, offered) == [
        CameraDevice(0, "/dev/video0", "Integrated", ("mjpeg 1280x720@30",)),
        CameraDevice(2, "/dev/video2", "USB Camera", ("mjpeg 1280x720@30",)),
        CameraDevice(10, "/dev/video10", "Busy"),
    ]


def test_no_cameras_are_an_empty_list(tmp_path: Path) -> None:
    assert list_devices("linux", tmp_path / "absent") == []


def test_ffmpeg_lists_cameras_on_other_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    def enumerate_devices(system: str) -> list[av.DeviceInfo]:
        assert system == "dshow"
        return [
            av.DeviceInfo("@device_pnp_a", "Integrated", False, ["video"]),
            av.DeviceInfo("@device_cm_m", "Microphone", False, ["audio"]),
            av.DeviceInfo("@device_pnp_b", "USB Camera", False, ["video", "audio"]),
        ]

    monkeypatch.setattr(av, "enumerate_input_devices", enumerate_devices)
    assert list_devices("win32") == [
        CameraDevice(0, "@device_pnp_a", "Integrated"),
        CameraDevice(1, "@device_pnp_b", "USB Camera"),
    ]


class Driver:
    """A Video4Linux2 driver with two formats: MJPEG in two sizes with two rates each, raw in a range of sizes."""

    def __call__(self, handle: int, request: int, buffer: bytearray) -> int:
        index, word, *_ = struct.unpack_from("=3I", buffer)
        if request == devices.ENUM_FORMATS and index < 2:
            assert word == devices.VIDEO_CAPTURE
            struct.pack_into("=4s", buffer, 44, (b"MJPG", b"YUYV")[index])
        elif request == devices.ENUM_SIZES and word == int.from_bytes(b"MJPG", "little") and index < 2:
            struct.pack_into("=3I", buffer, 8, devices.DISCRETE, *((1280, 720), (640, 480))[index])
        elif request == devices.ENUM_SIZES and word == int.from_bytes(b"YUYV", "little"):
            struct.pack_into("=7I", buffer, 8, 3, 32, 1920, 2, 32, 1080, 2)
        elif request == devices.ENUM_INTERVALS and word == int.from_bytes(b"MJPG", "little") and index < 2:
            struct.pack_into("=3I", buffer, 16, devices.DISCRETE, *((1, 30), (1001, 15000))[index])
        else:
            raise OSError("no more")
        return 0


def test_formats_of_a_driver_as_text(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch()
    assert devices.offered_formats(device, Driver()) == ("mjpeg 1280x720@30", "mjpeg 640x480@30", "yuyv422 1920x1080")


def test_a_file_that_is_no_camera_has_no_formats(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch()
    assert devices.offered_formats(device) == ()


@pytest.mark.skipif(
    shutil.which("cc") is None or not Path("/usr/include/linux/videodev2.h").exists(),
    reason="compares with the kernel's header: apt-get install gcc linux-libc-dev",
)
def test_requests_are_those_of_the_kernels_header(tmp_path: Path) -> None:
    source = tmp_path / "codes.c"
    source.write_text(
        "#include <stdio.h>\n#include <linux/videodev2.h>\n"
        'int main(void) { printf("%lu %lu %lu", (unsigned long)VIDIOC_ENUM_FMT, (unsigned long)VIDIOC_ENUM_FRAMESIZES, '
        "(unsigned long)VIDIOC_ENUM_FRAMEINTERVALS); return 0; }\n"
    )
    subprocess.run(["cc", str(source), "-o", str(tmp_path / "codes")], check=True, timeout=60)
    printed = subprocess.run([str(tmp_path / "codes")], capture_output=True, text=True, check=True, timeout=60).stdout
    assert [int(word) for word in printed.split()] == [devices.ENUM_FORMATS, devices.ENUM_SIZES, devices.ENUM_INTERVALS]
