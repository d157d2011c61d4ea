"""Sends frames of this program to a running pipeline, where they are a source.

Importing this module loads neither torch nor PyAV nor OpenCV.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from streamseg.endpoints import check_remote
from streamseg.errors import FrameRefusedError, UsageError
from streamseg.push.address import own_endpoint
from streamseg.push.clock import clock_name
from streamseg.push.jpeg import jpeg_size
from streamseg.push.uplink import Uplink, WaitingFrame
from streamseg.wire.curve import read_client_key_pair
from streamseg.wire.limits import FRAME_BYTES, SIDE
from streamseg.wire.protocol import validate_source_name

_LAST_S: Final = 1.0


class FrameSender:
    """Makes this program a source of a pipeline: a driver of a camera, a robot, a simulator.

        with FrameSender(source="robot") as sender:
            while True:
                sender.send(camera.read())

    The pipeline runs with `streamseg run --source robot=push:`. Either may start first, and each survives a restart of
    the other. `send` waits for nothing: while the pipeline is busy or away, the newest frame waits and replaces the one
    before, which counts as `dropped`.

    A sender may be used by several threads, but not by a child of `fork`.

    Args:
        endpoint: Address of the source, such as tcp://192.0.2.20:5560; None is that of `push:` alone, for programs of
            the same user on the same machine.
        source: Name of the source.
        quality: Send arrays as JPEG of this quality, 1 to 100, which needs OpenCV; None sends them as they are.
        secret_key_file: File with the secret key of this side, for a pipeline that admits certain keys only.
        server_key_file: File with that pipeline's public key.

    Raises:
        UsageError: The endpoint, the name of the source, the quality or a key file is invalid.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        source: str = "main",
        *,
        quality: int | None = None,
        secret_key_file: str | Path | None = None,
        server_key_file: str | Path | None = None,
    ) -> None:
        validate_source_name(source)
        if quality is not None and not 1 <= quality <= 100:
            raise UsageError(f"quality: {quality} is out of range; expected 1 to 100, or None for raw frames")
        if endpoint is not None:
            check_remote("endpoint", endpoint)
        self.endpoint = own_endpoint(source) if endpoint is None else endpoint
        self._quality = quality
        self._clock = clock_name()
        self._uplink = Uplink(self.endpoint, source, read_client_key_pair(secret_key_file, server_key_file))
        self._thread = threading.Thread(target=self._uplink.run, name="frame-sender", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def taken(self) -> int:
        """Frames that the pipeline has taken."""
        return self._uplink.counts.taken

    @property
    def dropped(self) -> int:
        """Frames that it did not take: replaced by a newer one while they waited, refused, or lost on the way."""
        return self._uplink.counts.dropped

    @property
    def connected(self) -> bool:
        """Whether the pipeline takes frames of this program now."""
        return self._uplink.connected

    def send(self, image: NDArray[np.uint8] | bytes, t_capture_ns: int | None = None) -> None:
        """Send a frame, or keep it until the pipeline can take it. The array may be changed afterwards.

        Args:
            image: Shape (height, width, 3), uint8, BGR; or a JPEG file. The size may change from frame to frame.
            t_capture_ns: When the picture was taken, by `time.monotonic_ns()`; None is now. On the machine of the
                pipeline it is the time from which ages are measured; elsewhere only differences between frames count.

        Raises:
            UsageError: It is no such picture.
            FrameRefusedError: The pipeline refused this program since the last call: its key, a frame, or because the
                source has another sender. It is tried again each second, except after the refusal of a key.
        """
        if self._uplink.closed:
            raise UsageError("the sender is closed; make another one")
        captured_ns = time.monotonic_ns() if t_capture_ns is None else t_capture_ns
        frame = self._waiting_frame(image, captured_ns)
        refusal = self._uplink.put(frame)
        if refusal is not None:
            raise FrameRefusedError(f"{self.endpoint} refused this program: {refusal}")

    def close(self) -> None:
        """Send the frame that waits, if that takes no longer than a second, and disconnect. May be called twice."""
        self._uplink.close(_LAST_S)
        self._thread.join()

    def _waiting_frame(self, image: NDArray[np.uint8] | bytes, captured_ns: int) -> WaitingFrame:
        if not isinstance(image, bytes):
            height, width = _size(image)
            if self._quality is None:
                _check(width, height, image.size)
                pixels = np.ascontiguousarray(image).tobytes()
                return WaitingFrame(pixels, width, height, "bgr8", captured_ns, self._clock)
            image = _encode(image, self._quality)
        size = jpeg_size(image)
        if size is None:
            raise UsageError("the bytes are no JPEG file; expected one, or an array of shape (height, width, 3)")
        _check(*size, len(image))
        return WaitingFrame(image, *size, "jpeg", captured_ns, self._clock)


def _size(image: NDArray[Any]) -> tuple[int, int]:
    """Height and width of an array that may be sent."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        found = f"{image.dtype}{image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UsageError(f"a frame is a (height, width, 3) array of uint8 in BGR, or a JPEG file in bytes; not {found}")
    _check(image.shape[1], image.shape[0], 0)
    return image.shape[0], image.shape[1]


def _check(width: int, height: int, size: int) -> None:
    if not (1 <= width <= SIDE and 1 <= height <= SIDE):
        raise UsageError(f"a frame of {width}x{height} pixels: expected sides of 1 to {SIDE}")
    if size > FRAME_BYTES:
        raise UsageError(
            f"a frame of {size:,} bytes: at most {FRAME_BYTES:,} are sent; reduce it, or send JPEG (quality=80)"
        )


def _encode(image: NDArray[np.uint8], quality: int) -> bytes:
    from streamseg.extras import needed_for

    with needed_for("quality"):
        import cv2
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise UsageError("the picture could not be encoded as JPEG")
    return data.tobytes()
