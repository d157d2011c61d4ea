"""Decoded pictures as upright BGR images."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

import numpy as np

from streamseg.messages import Image
from streamseg.orientation import Orientation

if TYPE_CHECKING:
    from collections.abc import Mapping

    import av
    from av.buffer import Buffer


class BgrConverter:
    """Converts pictures of any pixel format and size."""

    def __init__(self, turn: Orientation) -> None:
        """`turn` follows the stream's own orientation."""
        from av.video.reformatter import VideoReformatter

        self._turn = turn
        # A converter per picture would build its tables each time.
        self._reformatter = VideoReformatter()

    def image(self, picture: av.VideoFrame) -> Image:
        """The picture as an upright (height, width, 3) uint8 BGR image."""
        image = self._reformatter.reformat(picture, format="bgr24", threads=1).to_ndarray()
        return stored_orientation(picture).then(self._turn).apply(np.asarray(image, dtype=np.uint8))


def stored_orientation(picture: av.VideoFrame) -> Orientation:
    """How the stream says that its pictures are turned."""
    try:
        matrix = cast("Mapping[str, Buffer]", picture.side_data).get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know a kind of data that comes with this picture
        return Orientation.from_rotation(-round(picture.rotation / 90) * 90)
    return Orientation() if matrix is None else Orientation.from_matrix(struct.unpack("=9i", bytes(matrix)))
