"""A source whose frames another program sends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Final

import numpy as np

from streamseg.config import RunSource
from streamseg.images import decode_picture
from streamseg.messages import Frame, Image
from streamseg.orientation import Orientation
from streamseg.push.address import push_endpoint
from streamseg.push.clock import clock_name
from streamseg.push.jpeg import jpeg_size
from streamseg.push.receiver import FrameReceiver, SentFrame
from streamseg.sources import SourceChange, SourceInfo
from streamseg.sources.patience import Patience
from streamseg.sources.timeline import LiveTimeline
from streamseg.wire.curve import read_server_keys
from streamseg.wire.frames import FrameHeader

_POLL_MS: Final = 50
_OLDEST_NS: Final = 60_000_000_000
"""Age up to which a time of capture is believed."""


class PushedSource:
    """Takes frames from whichever program sends them, one program at a time; it waits for one without a limit."""

    def __init__(self, settings: RunSource) -> None:
        """Listen.

        Raises:
            EndpointInUseError: Another program has the endpoint.
            SettingsError: A key file cannot be used.
        """
        endpoint = push_endpoint(settings.address, settings.name)
        self.info = SourceInfo(description=f"frames of another program at {endpoint}")
        self._settings = settings
        self._turn = Orientation.from_rotation(settings.rotate, mirror=settings.mirror)
        self._timeline = LiveTimeline()
        self._clock = clock_name()
        self._captured_ns = 0
        curve = settings.curve
        self._receiver = FrameReceiver(
            endpoint,
            settings.name,
            None
            if curve is None
            else read_server_keys(curve.secret_key_file, curve.allow_files, f"{settings.key}.curve"),
        )

    def frames(self, start: int, stop: threading.Event) -> Iterator[Frame | SourceChange]:
        """Yield frames as they arrive, and each loss and return of the program; `start` is ignored."""
        patience: Patience | None = None
        yield SourceChange("disconnected", self._receiver.lost)
        while not stop.is_set():
            sent = self._receiver.receive(_POLL_MS)
            image = None if sent is None else self._image(sent)
            now_s = time.monotonic()
            if sent is not None and image is not None:
                if patience is None:
                    patience = Patience(self._settings.timeout, self._settings.timeout, now_s)
                    self._timeline.reconnected()
                    yield SourceChange("running", self.info.description)
                patience.note_picture(now_s)
                yield self._frame(sent.header, image)
                patience.excuse(time.monotonic() - now_s)
            if patience is None:
                continue
            if not self._receiver.lost and patience.is_over(time.monotonic()):
                self._receiver.release(f"no frame for {patience.seconds:.1f} s")
            if self._receiver.lost:
                patience = None
                yield SourceChange("disconnected", self._receiver.lost)

    def close(self) -> None:
        """Close the socket."""
        self._receiver.close()

    def _image(self, sent: SentFrame) -> Image | None:
        """The picture of a frame; None, with an answer to the program, if it is none."""
        width, height = sent.header.width, sent.header.height
        if sent.header.encoding == "bgr8":
            return np.frombuffer(sent.pixels, np.uint8).reshape(height, width, 3)
        # Before it is decoded: a short file may claim a size that fills the memory.
        image = None
        if jpeg_size(sent.pixels) == (width, height):
            image = decode_picture(bytes(sent.pixels), width, height, may_turn=True)
        if image is None:
            self._receiver.refuse(sent.program, f"frame {sent.header.seq} is not a JPEG of {width}x{height} pixels")
        return image

    def _frame(self, header: FrameHeader, image: Image) -> Frame:
        now_ns, stamp = time.monotonic_ns(), int(header.t_capture_ns)
        is_ours = self._clock is not None and header.clock == self._clock
        captured_ns = stamp if is_ours and now_ns - _OLDEST_NS <= stamp <= now_ns else now_ns
        # A tracker takes frames in the order of their capture.
        captured_ns = self._captured_ns = max(captured_ns, self._captured_ns)
        return Frame(
            self._turn.apply(image),
            self._timeline.at(stamp, captured_ns),
            captured_ns,
            time.time_ns() - (now_ns - captured_ns),
        )
