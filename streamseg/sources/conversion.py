"""Decoded pictures as upright BGR images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from streamseg.messages import Image
from streamseg.sources import Rotation

if TYPE_CHECKING:
    import av

_CLOCKWISE = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Orientation:
    """Rotates images clockwise by `rotate` degrees, then swaps left and right if `mirror` is set."""

    def __init__(self, rotate: Rotation, mirror: bool) -> None:
        self._rotate = rotate
        self._mirror = mirror

    def apply(self, image: Image, stored: int = 0) -> Image:
        """Turn an image of shape (height, width, 3); `stored` is the stream's own rotation, counter-clockwise."""
        clockwise = (self._rotate - round(stored / 90) * 90) % 360
        if clockwise:
            image = cv2.rotate(image, _CLOCKWISE[clockwise])  # type: ignore[assignment]
        if self._mirror:
            image = cv2.flip(image, 1)  # type: ignore[assignment]
        return image


class BgrConverter:
    """Converts pictures of any pixel format and size."""

    def __init__(self, orientation: Orientation) -> None:
        self._orientation = orientation
        from av.video.reformatter import VideoReformatter

        # A converter per picture would build its tables each time.
        self._reformatter = VideoReformatter()

    def image(self, picture: av.VideoFrame) -> Image:
        """The picture as an upright (height, width, 3) uint8 BGR image."""
        image = self._reformatter.reformat(picture, format="bgr24", threads=1).to_ndarray()
        return self._orientation.apply(np.asarray(image, dtype=np.uint8), picture.rotation)
