"""A camera of this machine as a source, through FFmpeg's Video4Linux2, AVFoundation or DirectShow."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import av
from av.container import InputContainer

from streamseg.errors import SourceError, SourceRefusedError
from streamseg.sources import SourceInfo, SourceSettings
from streamseg.sources.connection import Opened
from streamseg.sources.conversion import pixel_aspect
from streamseg.sources.devices import LISTING, CameraDevice, absent, list_devices
from streamseg.sources.live import LiveSource

Choice = tuple[tuple[str, str], ...]
"""FFmpeg's options for one attempt to open a device."""
OpenDevice = Callable[[str, str, dict[str, str], tuple[float, float]], InputContainer]
"""Opens a device: name, FFmpeg's input format, options, and the time limits of opening and of a read in seconds."""


@dataclass(frozen=True, slots=True)
class CameraSystem:
    """How to open the cameras of a platform.

    Attributes:
        input_format: FFmpeg's name of the system.
        formats: Pixel formats to request, best first: MJPEG, since large raw pictures exceed USB's bandwidth; raw; any.
        rates: Rates to request if the user requests none.
        permission: Remedy for denied access.
    """

    input_format: str
    formats: tuple[Choice, ...]
    rates: tuple[Choice, ...]
    permission: str


LINUX = CameraSystem(
    "v4l2",
    ((("input_format", "mjpeg"),), (("input_format", "yuyv422"),), ()),
    ((),),
    "add yourself to the group `video` (sudo usermod -aG video $USER) and log in again",
)
# AVFoundation has no MJPEG, and most cameras refuse FFmpeg's default of 29.97 frames per second.
MACOS = CameraSystem(
    "avfoundation",
    ((),),
    ((("framerate", "30"),), ()),
    "allow the terminal to use the camera in System Settings, Privacy & Security, Camera",
)
WINDOWS = CameraSystem(
    "dshow",
    ((("vcodec", "mjpeg"),), (("pixel_format", "yuyv422"),), ()),
    ((),),
    "let desktop apps use the camera in Settings, Privacy & security, Camera",
)


def camera_system(platform: str) -> CameraSystem:
    """The camera system of a platform, named as in `sys.platform`."""
    return {"darwin": MACOS, "win32": WINDOWS}.get(platform, LINUX)


def open_device(
    device: str, input_format: str, options: dict[str, str], timeout: tuple[float, float]
) -> InputContainer:
    """Open a real device."""
    return av.open(device, format=input_format, options=options, timeout=timeout, metadata_errors="replace")


class WebcamSource(LiveSource):
    """The pictures of a camera; `LiveSource` describes opening, waiting and reconnecting.

    The URL is a number, a device (`/dev/video0`), or a camera's name, with or without `webcam:` before it.
    """

    def __init__(
        self,
        settings: SourceSettings,
        platform: str = sys.platform,
        opener: OpenDevice = open_device,
        cameras: Callable[[], list[CameraDevice]] = list_devices,
    ) -> None:
        self._system = camera_system(platform)
        self._opener = opener
        self._cameras = cameras
        self._camera = re.sub(r"^(webcam|video):", "", settings.address)
        super().__init__(settings, f"camera {self._camera}")

    def connect(self) -> Opened:
        """Open the camera with the best options that it accepts."""
        device = self._device()
        refusal: SourceError | None = None
        for choice in self._choices():
            try:
                container = self._opener(
                    device,
                    self._system.input_format,
                    dict(choice),
                    (self._settings.start_timeout, self._settings.timeout),
                )
            except av.FFmpegError as error:
                refusal = refusal or SourceError(
                    f"camera {self._camera} cannot be opened ({error.strerror}); {LISTING}"
                )
                self._raise_final(error)
                continue
            return Opened(container, self._describe(device, container))
        if self._system is not LINUX and not self._listed():
            raise self._absent()
        raise refusal or self._absent()

    def _device(self) -> str:
        """FFmpeg's name of the camera."""
        url = self._camera
        if self._system is LINUX:
            return f"/dev/video{url}" if url.isdecimal() else url if url.startswith("/") else self._named(url).device
        if self._system is MACOS:
            return f"{url}:none"
        if url.isdecimal():
            numbered = [camera.device for camera in self._cameras() if camera.index == int(url)]
            if not numbered:
                raise self._absent()
            return f"video={numbered[0]}"
        return f"video={url.removeprefix('video=')}"

    def _named(self, name: str) -> CameraDevice:
        for camera in self._cameras():
            if camera.name.casefold() == name.casefold():
                return camera
        raise self._absent()

    def _listed(self) -> bool:
        url = self._camera
        return any(url in (str(camera.index), camera.name, camera.device) for camera in self._cameras())

    def _choices(self) -> Iterator[Choice]:
        """Options to try, from all requested ones to none; the rate is dropped before the size."""
        wanted = self._settings
        size: Choice = (("video_size", f"{wanted.width}x{wanted.height}"),) if wanted.width and wanted.height else ()
        rates = ((("framerate", f"{wanted.fps:g}"),), *self._system.rates) if wanted.fps else self._system.rates
        seen: set[Choice] = set()
        for dimensions, rate, pixels in product((size, ()), rates, self._system.formats):
            choice = pixels + dimensions + rate
            if choice not in seen:
                seen.add(choice)
                yield choice

    def _raise_final(self, error: av.FFmpegError) -> None:
        """Raise if other options cannot help."""
        url = self._camera
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            raise self._absent() from error
        if error.errno == errno.EBUSY:
            raise SourceError(f"camera {url} is in use by another program; close that program") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise SourceRefusedError(f"no permission to use camera {url}; {self._system.permission}") from error

    def _absent(self) -> SourceError:
        return absent(self._camera, self._cameras())

    def _describe(self, device: str, container: InputContainer) -> SourceInfo:
        stream = container.streams.video[0]
        context, wanted = stream.codec_context, self._settings
        fps = float(stream.average_rate) if stream.average_rate else None
        pixels = context.pix_fmt if context.name == "rawvideo" else context.name
        text = f"camera {device} ({pixels} {context.width}x{context.height}" + (f" at {fps:g} fps)" if fps else ")")
        if wanted.width and wanted.height and (wanted.width, wanted.height) != (context.width, context.height):
            text += f"; {wanted.width}x{wanted.height} is not offered"
        if wanted.fps and fps and abs(wanted.fps - fps) > 0.5:
            text += f"; {wanted.fps:g} fps is not offered"
        return SourceInfo(description=text, fps=fps, codec=context.name, pixel_aspect=pixel_aspect(stream))
