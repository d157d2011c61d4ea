"""Where frames come from: files, RTSP and HTTP cameras, webcams, other programs, and a synthetic scene."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol
from urllib.parse import parse_qs

import msgspec

from streamseg.errors import SettingsError
from streamseg.messages import SQUARE, Frame, PixelAspect
from streamseg.paths import read_small
from streamseg.settings import Seconds, Settings

SourceKind = Literal["webcam", "rtsp", "http", "push", "file", "synthetic"]
Rotation = Literal[0, 90, 180, 270]
Side = Annotated[int, msgspec.Meta(ge=1, le=8192)]
"""Pixels of a picture's width or height."""


LIST_SUFFIXES: Final = (".m3u8", ".m3u")
"""Endings of the names of HLS lists."""
VIDEO_SUFFIXES: Final = (
    *(".3gp", ".asf", ".avi", ".divx", ".flv", ".h264", ".h265", ".hevc", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m"),
)
"""Endings of the names of videos, in lower case: of a folder, other files are left out."""
MAIN: Final = "main"
"""The name of a single source that is given none."""
_NAME: Final = "[a-z0-9_-]{1,64}"


def is_source_name(text: str) -> bool:
    """Whether a source may have this name."""
    return re.fullmatch(_NAME, text) is not None


def source_key(name: str) -> str:
    """The key of a source in the settings, as `--set` takes it and messages write it."""
    return f"sources.{name}"


class SourceSettings(Settings, frozen=True, kw_only=True):
    """Settings of a source.

    Attributes:
        url: A path, `rtsp://…`, `http://…` of a video, an MJPEG camera or an HLS list, a camera's number or device,
            `push:` for frames that another program sends, or `synthetic:…`. A URL may hold `user:password@`.
        name: Name of the source on the wire.
        width: Requested width of a webcam in pixels; None leaves it to the camera.
        height: Requested height of a webcam in pixels.
        fps: Frames per second to analyse; also requested from a webcam.
        rotate: Clockwise rotation in degrees.
        mirror: Whether to swap left and right, after the rotation.
        transport: RTSP transport.
        timeout: Seconds without a decoded frame after which a live source counts as disconnected.
        start_timeout: Seconds within which the first frame must arrive. FFmpeg needs about four intervals between
            frames: the default allows a camera of one frame in 5 seconds.
        wait: Whether to wait, without limit, for a live source that is absent at the start.
        live: Of HTTP and of an HLS list alone: whether it is live, or a file. None finds out at the start of a run.
        username: For RTSP and HTTP; overrides the URL's.
        password_file: File whose first line is the password for RTSP or HTTP; overrides the URL's.
    """

    url: str | Annotated[int, msgspec.Meta(ge=0, le=999)]
    name: Annotated[str, msgspec.Meta(pattern=rf"^{_NAME}\Z")] = MAIN
    width: Side | None = None
    height: Side | None = None
    fps: Annotated[float, msgspec.Meta(gt=0, le=1000)] | None = None
    rotate: Rotation = 0
    mirror: bool = False
    transport: Literal["tcp", "udp"] = "tcp"
    timeout: Seconds = 3.0
    start_timeout: Seconds = 30.0
    wait: bool = False
    live: bool | None = None
    username: str | None = None
    password_file: str | None = None

    def __repr__(self) -> str:
        """Name and kind alone: the URL may hold a password."""
        return f"SourceSettings(name={self.name!r}, kind={self.kind!r})"

    @property
    def key(self) -> str:
        """Its key in the settings, for messages."""
        return source_key(self.name)

    @property
    def address(self) -> str:
        """The URL as text; YAML reads a camera's number as a number."""
        return str(self.url)

    @property
    def kind(self) -> SourceKind:
        """The kind of source that the URL names."""
        scheme = self.address.split(":", 1)[0].lower()
        if scheme in ("rtsp", "rtsps"):
            return "rtsp"
        if re.match("https?://", self.address, re.IGNORECASE):
            return "http"
        if scheme in ("push", "synthetic"):
            return "push" if scheme == "push" else "synthetic"
        if self.address.isdecimal() or re.match(r"/dev/video\d+$", self.address) or scheme in ("video", "webcam"):
            return "webcam"
        return "file"

    @property
    def may_be_live(self) -> bool:
        """Whether only its content tells if it is live."""
        return self.kind == "http" or (self.kind == "file" and self.address.lower().endswith(LIST_SUFFIXES))

    @property
    def is_live(self) -> bool:
        """Whether frames arrive at their own pace, without an end. By its name, where nobody has looked at it yet."""
        if self.may_be_live and self.live is not None:
            return self.live
        if self.kind == "http":
            path = re.split("[?#]", self.address)[0].partition("://")[2].partition("/")[2]
            # Until the server answers something else; live streams often end in `.ts`.
            return not path.lower().endswith(VIDEO_SUFFIXES) or path.lower().endswith(".ts")
        if self.kind == "synthetic":
            return parse_qs(self.address.partition("?")[2]).get("frames", ["0"])[-1] == "0"
        return self.kind in ("webcam", "rtsp", "push")

    def read_password(self) -> str | None:
        """The password in `password_file`; None without a file.

        Raises:
            SettingsError: The file does not exist, cannot be read, is empty or too large, or is not UTF-8.
        """
        if self.password_file is None:
            return None
        try:
            # Some editors begin a file with a byte-order mark.
            lines = read_small(Path(self.password_file)).decode("utf-8-sig").splitlines()
        except FileNotFoundError as error:
            # It is not repeated, as it may be the password itself.
            raise self._unusable_password("there is no such file") from error
        except OSError as error:
            raise self._unusable_password(f"{self.password_file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise self._unusable_password(f"{self.password_file} is not UTF-8") from error
        if not lines or not lines[0]:
            raise self._unusable_password(f"{self.password_file} has no first line")
        return lines[0]

    def _unusable_password(self, why: str) -> SettingsError:
        return SettingsError(
            f"{self.key}.password_file: {why}; expected a file whose first line is the camera's password"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """Properties of an opened source; None if the source does not give them.

    Attributes:
        size: Width and height of the first picture as stored, before any turn.
        pixel_aspect: As stored, before any turn.
        sound: Whether it has sound, which nothing here uses.
    """

    description: str
    fps: float | None = None
    frame_count: int | None = None
    size: tuple[int, int] | None = None
    codec: str | None = None
    pixel_aspect: PixelAspect = SQUARE
    sound: bool = False


@dataclass(frozen=True, slots=True)
class SourceChange:
    """A live source lost its connection (`disconnected`) or has it again (`running`)."""

    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SourceDamage:
    """A file was read to its end, but not all of it could be used; comes after the last frame.

    Attributes:
        missing: Frames that could not be read, an estimate where the file does not count them.
        damaged: Frames whose picture is partly wrong.
        expected: Frames of the undamaged file.
    """

    missing: int
    damaged: int
    expected: int

    def __str__(self) -> str:
        wrong = f"{self.damaged} {{}} damaged".format("is" if self.damaged == 1 else "are")
        if not self.missing:
            return f"of {self.expected} frames {wrong}"
        lost = f"about {self.missing} of {self.expected} frames could not be read"
        return f"{lost}, and {wrong}" if self.damaged else lost


class Source(Protocol):
    """A stream of frames. The constructor opens it, or raises `SourceError` within `start_timeout`."""

    info: SourceInfo

    def frames(self, start: int, stop: threading.Event) -> Iterator[Frame | SourceChange | SourceDamage]:
        """Yield frames in order until the end or until `stop` is set.

        Args:
            start: How many frames of a file to skip first; live sources ignore it.
            stop: Checked while waiting and between frames.

        Raises:
            SourceError: The source failed for good.
        """
        ...

    def close(self) -> None:
        """Release the device, file or connection."""
        ...
