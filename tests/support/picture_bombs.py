"""Short files that claim to hold huge pictures."""

from __future__ import annotations

import struct

import cv2
import numpy as np

_SIZE_AFTER_MARKER = 5


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG of a few hundred bytes whose header claims that size."""
    content = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    place = content.index(b"\xff\xc0") + _SIZE_AFTER_MARKER
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]
