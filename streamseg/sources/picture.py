"""A picture file as a source."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from streamseg.images import read_image
from streamseg.messages import Frame
from streamseg.orientation import Orientation
from streamseg.sources import SourceInfo, SourceSettings


class PictureSource:
    """One frame, as every other reader of pictures has it."""

    def __init__(self, settings: SourceSettings) -> None:
        """Read the picture.

        Raises:
            SourceError: The file cannot be read, or is not a complete picture.
        """
        turn = Orientation.from_rotation(settings.rotate, mirror=settings.mirror)
        self._image = turn.apply(read_image(Path(settings.address)))
        height, width = self._image.shape[:2]
        self.info = SourceInfo(description=settings.address, frame_count=1, size=(width, height))

    def frames(self, start: int, stop: threading.Event) -> Iterator[Frame]:
        """Yield the picture if `start` is 0."""
        if start == 0:
            yield Frame(self._image, 0, time.monotonic_ns(), time.time_ns())

    def close(self) -> None:
        """Nothing to release."""
