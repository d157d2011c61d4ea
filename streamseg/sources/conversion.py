"""Decoded pictures as upright BGR images."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from streamseg.messages import SQUARE, Image, PixelAspect
from streamseg.orientation import Orientation

if TYPE_CHECKING:
    from collections.abc import Mapping

    import av
    from av.buffer import Buffer
    from av.video.stream import VideoStream

_LARGEST_PART: Final = 65_535
_MOST_STRETCHED: Final = 16


class BgrConverter:
    """Converts pictures of any pixel format and size."""

    def __init__(self, turn: Orientation) -> None:
        """`turn` follows the stream's own orientation."""
        from av.video.reformatter import VideoReformatter

        self._turn = turn
        # A converter per picture would build its tables each time.
        self._reformatter = VideoReformatter()

    def upright(self, picture: av.VideoFrame, aspect: PixelAspect) -> tuple[Image, PixelAspect]:
        """The picture as an upright (height, width, 3) uint8 BGR image, and its pixels' aspect; `aspect`: as stored."""
        image = self._reformatter.reformat(picture, format="bgr24", threads=1).to_ndarray()
        turn = stored_orientation(picture).then(self._turn)
        return turn.apply(np.asarray(image, dtype=np.uint8)), aspect[::-1] if turn.swaps_sides else aspect


def pixel_aspect(stream: VideoStream) -> PixelAspect:
    """Width and height of the stream's pixels; square without a possible one."""
    ratio = (stream.sample_aspect_ratio or Fraction(1)).limit_denominator(_LARGEST_PART)
    possible = Fraction(1, _MOST_STRETCHED) <= ratio <= _MOST_STRETCHED and ratio.numerator <= _LARGEST_PART
    return (ratio.numerator, ratio.denominator) if possible else SQUARE


def stored_orientation(picture: av.VideoFrame) -> Orientation:
    """How the stream says that its pictures are turned."""
    try:
        matrix = cast("Mapping[str, Buffer]", picture.side_data).get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know a kind of data that comes with this picture
        return Orientation.from_rotation(-round(picture.rotation / 90) * 90)
    return Orientation() if matrix is None else Orientation.from_matrix(struct.unpack("=9i", bytes(matrix)))
