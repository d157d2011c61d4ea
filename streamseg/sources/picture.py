"""From a decoded picture to an upright BGR image."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from streamseg.messages import Image
from streamseg.sources.orientation import Orientation


class BgrConverter:
    """Converts decoded pictures of any pixel format and size."""

    def __init__(self, orientation: Orientation) -> None:
        self._orientation = orientation
        # One converter for the whole stream keeps its tables, which a converter per picture would build anew.
        self._reformatter = VideoReformatter()

    def image(self, picture: av.VideoFrame) -> Image:
        """The picture as an upright (height, width, 3) uint8 BGR image."""
        image = self._reformatter.reformat(picture, format="bgr24", threads=1).to_ndarray()
        return self._orientation.apply(np.asarray(image, dtype=np.uint8), picture.rotation)
