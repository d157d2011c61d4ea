"""Turning and mirroring images."""

from __future__ import annotations

import cv2

from streamseg.errors import SourceError
from streamseg.messages import Image

_CLOCKWISE = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Orientation:
    """Turns images clockwise by `rotate` degrees, then mirrors them left to right where asked."""

    def __init__(self, rotate: int, mirror: bool) -> None:
        if rotate not in (0, 90, 180, 270):
            raise SourceError(f"a source can be rotated by 0, 90, 180 or 270 degrees, not by {rotate}")
        self._rotate = rotate
        self._mirror = mirror

    def apply(self, image: Image, stored: int = 0) -> Image:
        """Turn an image of shape (height, width, 3); `stored` is the file's own rotation, counter-clockwise as FFmpeg gives it."""
        clockwise = (self._rotate - round(stored / 90) * 90) % 360
        if clockwise:
            image = cv2.rotate(image, _CLOCKWISE[clockwise])  # type: ignore[assignment]
        if self._mirror:
            image = cv2.flip(image, 1)  # type: ignore[assignment]
        return image
