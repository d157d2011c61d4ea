from __future__ import annotations

import errno
import itertools
import threading
from collections.abc import Callable

import av
import pytest
from av.container import InputContainer

from streamseg.errors import SourceError, SourceRefusedError
from streamseg.messages import Frame
from streamseg.sources import Rotation, SourceChange, SourceSettings
from streamseg.sources.devices import CameraDevice
from streamseg.sources.webcam import WebcamSource

CAMERAS = {
    "linux": [CameraDevice(0, "/dev/video0", "Integrated"), CameraDevice(2, "/dev/video2", "USB Camera")],
    "darwin": [CameraDevice(0, "0", "FaceTime HD"), CameraDevice(1, "1", "USB Camera")],
    "win32": [CameraDevice(0, "@device_pnp_a", "Integrated"), CameraDevice(1, "@device_pnp_b", "USB Camera")],
}


class Devices:
    """Fake devices that record the requests, refuse some, and otherwise show a test picture.

    Attributes:
        requests: The requested formats, each as `device option=value ...`.
    """

    def __init__(
        self, *refused: str, error: int = errno.EINVAL, size: str = "160x120", rate: str = "30", seconds: float = 60.0
    ) -> None:
        self.refused = refused
        self.error = error
        self.size = size
        self.rate = rate
        self.seconds = seconds
        self.requests: list[str] = []
        self.formats: list[str] = []

    def open(
        self, device: str, input_format: str, options: dict[str, str], timeout: tuple[float, float]
    ) -> InputContainer:
        assert timeout == (30.0, 3.0)
        request = " ".join([device, *(f"{name}={value}" for name, value in options.items())])
        self.requests.append(request)
        self.formats.append(input_format)
        if any(part in request for part in self.refused):
            av.error.err_check(-self.error, device)
        size, rate = options.get("video_size", self.size), options.get("framerate", self.rate)
        return av.open(f"testsrc=size={size}:rate={rate}:duration={self.seconds}", format="lavfi")


def open_camera(
    devices: Devices,
    platform: str = "linux",
    url: str = "0",
    cameras: Callable[[], list[CameraDevice]] | None = None,
    **wanted: int,
) -> WebcamSource:
    options = SourceSettings(url=url, width=wanted.get("width"), height=wanted.get("height"), fps=wanted.get("fps"))
    source = WebcamSource(options, platform, devices.open, cameras or (lambda: CAMERAS[platform]))
    source.close()
    return source


@pytest.mark.parametrize(
    ("platform", "url", "device", "input_format"),
    [
        ("linux", "2", "/dev/video2", "v4l2"),
        ("linux", "/dev/video1", "/dev/video1", "v4l2"),
        ("linux", "/dev/v4l/by-id/usb", "/dev/v4l/by-id/usb", "v4l2"),
        ("linux", "webcam:usb camera", "/dev/video2", "v4l2"),
        ("darwin", "1", "1:none", "avfoundation"),
        ("darwin", "FaceTime HD", "FaceTime HD:none", "avfoundation"),
        ("win32", "1", "video=@device_pnp_b", "dshow"),
        ("win32", "USB Camera", "video=USB Camera", "dshow"),
    ],
)
def test_number_or_name_to_device_on_each_platform(platform: str, url: str, device: str, input_format: str) -> None:
    devices = Devices()
    open_camera(devices, platform, url)
    assert devices.requests[0].startswith(device)
    assert devices.formats == [input_format]


def test_mjpeg_is_requested_first() -> None:
    for platform, first in (("linux", "input_format=mjpeg"), ("win32", "vcodec=mjpeg"), ("darwin", "framerate=30")):
        devices = Devices()
        open_camera(devices, platform)
        (request,) = devices.requests
        assert request.endswith(first)


def test_a_refused_format_falls_back_to_raw_and_then_to_the_cameras_own() -> None:
    devices = Devices("input_format")
    open_camera(devices)
    assert devices.requests == ["/dev/video0 input_format=mjpeg", "/dev/video0 input_format=yuyv422", "/dev/video0"]


def test_a_refused_rate_keeps_the_size_and_is_reported() -> None:
    devices = Devices("framerate=60")
    source = open_camera(devices, width=320, height=240, fps=60)
    assert devices.requests[0] == "/dev/video0 input_format=mjpeg video_size=320x240 framerate=60"
    assert devices.requests[-1] == "/dev/video0 input_format=mjpeg video_size=320x240"
    assert source.info.description == "camera /dev/video0 (wrapped_avframe 320x240 at 30 fps); 60 fps is not offered"
    assert source.info.fps == 30


def test_a_refused_size_keeps_the_rate_and_is_reported() -> None:
    devices = Devices("video_size")
    source = open_camera(devices, width=1920, height=1080, fps=15)
    assert devices.requests[-1] == "/dev/video0 input_format=mjpeg framerate=15"
    assert source.info.description == "camera /dev/video0 (wrapped_avframe 160x120 at 15 fps); 1920x1080 is not offered"


@pytest.mark.parametrize(
    ("platform", "code", "kind", "message"),
    [
        (
            "linux",
            errno.ENOENT,
            SourceError,
            r"there is no camera 0; cameras of this machine: 0 \(Integrated\), 2 \(USB Camera\); `streamseg devices`",
        ),
        ("linux", errno.ENODEV, SourceError, "there is no camera 0"),
        ("linux", errno.EBUSY, SourceError, "in use by another program; close"),
        ("linux", errno.EACCES, SourceRefusedError, "no permission to use camera 0; add yourself to the group `video`"),
        ("darwin", errno.EPERM, SourceRefusedError, "System Settings"),
        ("win32", errno.EACCES, SourceRefusedError, "let desktop apps use the camera"),
        ("linux", errno.EINVAL, SourceError, r"cannot be opened \(Invalid argument\)"),
    ],
)
def test_each_failure_has_its_own_message(platform: str, code: int, kind: type[SourceError], message: str) -> None:
    with pytest.raises(SourceError, match=message) as raised:
        open_camera(Devices("", error=code), platform)
    assert type(raised.value) is kind
    assert "\n" not in str(raised.value)


def test_an_absent_camera_on_platforms_with_unspecific_errors() -> None:
    # AVFoundation and DirectShow report a missing camera as an input/output error.
    for platform, url in (("darwin", "7"), ("win32", "7"), ("win32", "Nameless"), ("linux", "Nameless")):
        with pytest.raises(SourceError, match=f"there is no camera {url}; cameras of this machine: 0"):
            open_camera(Devices("", error=errno.EIO), platform, url)
    with pytest.raises(SourceError, match="cameras of this machine: none"):
        open_camera(Devices("", error=errno.EIO), "darwin", "0", cameras=lambda: [])


def test_busy_and_denied_do_not_try_other_formats() -> None:
    for code in (errno.EBUSY, errno.EACCES, errno.ENOENT):
        devices = Devices("", error=code)
        with pytest.raises(SourceError):
            open_camera(devices, width=320, height=240, fps=60)
        assert len(devices.requests) == 1


def test_frames_are_turned_and_mirrored() -> None:
    def first(rotate: Rotation, mirror: bool) -> Frame:
        source = WebcamSource(
            SourceSettings(url="0", rotate=rotate, mirror=mirror), "linux", Devices().open, lambda: []
        )
        frame = next(source.frames(0, threading.Event()))
        source.close()
        assert isinstance(frame, Frame)
        return frame

    plain, turned, mirrored = first(0, False), first(90, False), first(0, True)
    assert turned.image.shape == (160, 120, 3)
    assert (turned.image == plain.image.transpose(1, 0, 2)[:, ::-1]).all()
    assert (mirrored.image == plain.image[:, ::-1]).all()


def test_an_unplugged_camera_is_reopened() -> None:
    devices = Devices(seconds=0.2)
    source = WebcamSource(SourceSettings(url="0"), "linux", devices.open, lambda: [])
    stop = threading.Event()
    items = list(itertools.islice(source.frames(0, stop), 9))
    source.close()
    kinds = ["change" if isinstance(item, SourceChange) else "frame" for item in items]
    assert kinds == ["frame"] * 6 + ["change"] * 2 + ["frame"]
    assert [item.state for item in items if isinstance(item, SourceChange)] == ["disconnected", "running"]
    assert len(devices.requests) == 2
