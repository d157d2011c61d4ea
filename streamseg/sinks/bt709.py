"""BGR images as video frames: BT.709 with limited range."""

from __future__ import annotations

from typing import Final

import av
import cv2
import numpy as np

from streamseg.messages import Image

_RED, _BLUE = 0.2126, 0.0722
_LUMA = np.array((_BLUE, 1 - _RED - _BLUE, _RED))
_FROM_BGR: Final = np.vstack(
    (
        (*(_LUMA * 219 / 255), 16),
        (*((np.array((1, 0, 0)) - _LUMA) / (2 * (1 - _BLUE)) * 224 / 255), 128),
        (*((np.array((0, 0, 1)) - _LUMA) / (2 * (1 - _RED)) * 224 / 255), 128),
    )
)
"""Y, Cb and Cr of B, G, R and 1."""


def pixel_format(width: int, height: int) -> str:
    """The pixel format for frames of a size: H.264 shares chroma among 2x2 pixels only where both sides are even."""
    return "yuv444p" if width % 2 or height % 2 else "yuv420p"


def video_frame(image: Image) -> av.VideoFrame:
    """Convert an image of shape (height, width, 3) to a frame in the format that `pixel_format` gives."""
    height, width = image.shape[:2]
    yuv = cv2.transform(image, _FROM_BGR)
    if pixel_format(width, height) == "yuv444p":
        return av.VideoFrame.from_ndarray(np.stack(cv2.split(yuv)).astype(np.uint8, copy=False), format="yuv444p")
    planes = np.empty((height * 3 // 2, width), np.uint8)
    chroma = planes[height:].reshape(2, height // 2, width // 2)
    shared = cv2.resize(yuv, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    for channel, source, plane in ((0, yuv, planes[:height]), (1, shared, chroma[0]), (2, shared, chroma[1])):
        cv2.extractChannel(source, channel, plane)
    return av.VideoFrame.from_numpy_buffer(planes, format="yuv420p")
