"""Where frames come from: files, RTSP cameras, webcams, and a synthetic scene."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from streamseg.messages import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How to open a source.

    Attributes:
        url: A path, `rtsp://…`, a camera's number or device, or `synthetic:…`. An RTSP URL may hold `user:password@`.
        width: Wanted width in pixels (webcams), or None for what the source offers.
        height: Wanted height in pixels (webcams).
        fps: Wanted frames a second (webcams).
        rotate: Clockwise rotation in degrees: 0, 90, 180 or 270.
        mirror: Whether left and right change places, after the rotation.
        transport: RTSP transport, `tcp` or `udp`.
        timeout: Seconds without a decoded frame after which a live source counts as disconnected.
        start_timeout: Seconds within which the first frame must come.
        wait: Whether a live source that is absent at the start is waited for.
        username: For RTSP; takes precedence over the URL's.
        password: For RTSP; never logged.
        threads: How many decode a file; None leaves that to FFmpeg. A live stream has one.
    """

    url: str = field(repr=False)
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    rotate: int = 0
    mirror: bool = False
    transport: str = "tcp"
    timeout: float = 3.0
    start_timeout: float = 10.0
    wait: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """Properties of an opened source; None where the source does not give them."""

    description: str
    fps: float | None = None
    frame_count: int | None = None


@dataclass(frozen=True, slots=True)
class SourceChange:
    """A live source lost its connection (`disconnected`) or has it again (`running`)."""

    state: str
    detail: str = ""


class Source(Protocol):
    """A stream of frames. The constructor opens it, or raises `SourceError` within `start_timeout`."""

    info: SourceInfo

    def frames(self, start: int, stop: threading.Event) -> Iterator[Frame | SourceChange]:
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
