"""How long a live source may be silent before it counts as lost."""

from __future__ import annotations

from typing import Final

PATIENCE_INTERVALS: Final = 5
"""Intervals between pictures after which a silent stream is lost, but never before the time-out."""


class Patience:
    """Follows the pictures of one connection. Until the second one, it lasts as long as a connection may take to start.

    Attributes:
        seconds: Of silence after which the stream is lost.
    """

    def __init__(self, start_timeout: float, timeout: float, now_s: float, fps: float | None = None) -> None:
        """Begin at a time on the monotonic clock; `fps`: the declared rate."""
        self.seconds = start_timeout
        self._timeout = timeout
        self._declared = 1.0 / fps if fps else 0.0
        self._interval: float | None = None
        self._last: float | None = None
        self._alive = now_s

    def note_picture(self, now_s: float) -> None:
        """A picture arrived."""
        if self._last is not None:
            interval = now_s - self._last
            self._interval = interval if self._interval is None else 0.8 * self._interval + 0.2 * interval
            self.seconds = max(self._timeout, PATIENCE_INTERVALS * max(self._interval, self._declared))
        self._last = self._alive = now_s

    def excuse(self, seconds: float) -> None:
        """Time in which nothing was read does not count as silence."""
        self._alive += seconds

    def is_over(self, now_s: float) -> bool:
        """Whether the stream is lost."""
        return now_s - self._alive >= self.seconds
