"""An animated WebP picture as a source; FFmpeg, which plays all other animations, has no decoder for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from streamseg.errors import SourceError
from streamseg.messages import Frame
from streamseg.orientation import Orientation
from streamseg.sources import SourceInfo, SourceSettings

if TYPE_CHECKING:
    from PIL.WebPImagePlugin import WebPImageFile

_HEADER_BYTES: Final = 21
_ANIMATED: Final = 0x02
"""Flag in the extended header."""


def is_animated_webp(path: Path) -> bool:
    """Whether a file starts as an animated WebP picture does; false if it cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return False
    extended = header[:4] == b"RIFF" and header[8:16] == b"WEBPVP8X" and len(header) == _HEADER_BYTES
    return extended and bool(header[-1] & _ANIMATED)


class AnimatedWebpSource:
    """Every picture of an animation, once, in order."""

    def __init__(self, settings: SourceSettings) -> None:
        """Read the header and the first picture.

        Raises:
            SourceError: The file cannot be read, or is damaged.
        """
        self._path = Path(settings.address)
        self._orientation = Orientation.from_rotation(settings.rotate, mirror=settings.mirror)
        with self._open() as animation:
            count = animation.n_frames
            self._load(animation, 0)
            duration_ms = animation.info["duration"]
        self.info = SourceInfo(
            description=str(self._path),
            fps=1000 / duration_ms if duration_ms else None,
            frame_count=count,
            size=animation.size,
        )

    def frames(self, start: int, stop: threading.Event) -> Iterator[Frame]:
        """Yield the pictures from number `start` on, at the times of the animation.

        Raises:
            SourceError: The file is damaged.
        """
        end_ms = 0
        with self._open() as animation:
            for number in range(animation.n_frames):
                if stop.is_set():
                    return
                self._load(animation, number)
                start_ms, end_ms = end_ms, end_ms + animation.info["duration"]
                if number >= start:
                    pixels = np.asarray(animation.convert("RGB"), np.uint8)[..., ::-1]
                    image = self._orientation.apply(np.ascontiguousarray(pixels))
                    yield Frame(image, start_ms * 1_000_000, time.monotonic_ns(), time.time_ns())

    def close(self) -> None:
        """Nothing to release: `frames` closes the file."""

    def _open(self) -> WebPImageFile:
        from PIL.WebPImagePlugin import WebPImageFile

        try:
            return WebPImageFile(self._path)
        except (OSError, SyntaxError, ValueError) as error:
            raise SourceError(f"{self._path} cannot be read as an animation; is the file complete?") from error

    def _load(self, animation: WebPImageFile, number: int) -> None:
        try:
            animation.seek(number)
            animation.load()
        except (OSError, EOFError, ValueError) as error:
            raise SourceError(f"{self._path} cannot be decoded further: picture {number} is damaged") from error
