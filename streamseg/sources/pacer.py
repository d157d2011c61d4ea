"""Holds the pictures of a stream that arrives in bursts until they are due."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Final

from streamseg.sources.connection import DecodedPicture
from streamseg.sources.timeline import timestamp_ns

_LATEST_NS: Final = 1_000_000_000
"""A picture that is later than this, because none arrived for a while, is due at once, and those after it follow."""
_LONGEST_NS: Final = 10_000_000_000
"""A timestamp further ahead than this is a jump of the stream's clock."""


class Pacer:
    """Relates the timestamps of one connection to the clock. The first picture is due at once."""

    def __init__(self, stop: threading.Event) -> None:
        """`stop` ends each wait."""
        self._stop = stop
        self._offset: int | None = None

    def wait(self, picture: DecodedPicture) -> DecodedPicture:
        """Wait until a picture is due, and return it with that time."""
        stamp, now = timestamp_ns(picture.picture), time.monotonic_ns()
        if stamp is None:
            return picture
        if self._offset is None or not -_LATEST_NS <= stamp + self._offset - now <= _LONGEST_NS:
            self._offset = now - stamp
        self._stop.wait(max(0, stamp + self._offset - now) / 1e9)
        return replace(picture, clock_ns=time.monotonic_ns(), unix_ns=time.time_ns())
