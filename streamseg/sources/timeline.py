"""Presentation times that start at zero and always rise, even if the stream's timestamps do not."""

from __future__ import annotations

import av

LEAST_STEP_NS = 1_000_000
"""Least time between two frames: containers count in milliseconds or finer."""
JUMP_BACK_NS = 1_000_000_000
"""A file's timestamps that fall by more than this have restarted; by less, one of them is wrong."""
LIVE_SLACK_NS = 5_000_000_000
"""Largest difference between a live stream's timestamps and the clock; beyond it the clock decides."""


def timestamp_ns(picture: av.VideoFrame) -> int | None:
    """The picture's own timestamp in nanoseconds, or None if it has none."""
    ticks = picture.pts if picture.pts is not None else picture.dts
    if ticks is None or picture.time_base is None:
        return None
    return ticks * 1_000_000_000 * picture.time_base.numerator // picture.time_base.denominator


def interval_ns(fps: float | None) -> int:
    """Nanoseconds between two frames; an unknown rate counts as 25 frames per second."""
    return round(1e9 / (fps or 25.0))


class FileTimeline:
    """Follows a file's timestamps as long as they rise."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._offset: int | None = None
        self._last: int | None = None

    def at(self, stamp: int | None) -> int:
        """Nanoseconds between the first frame and the frame with this timestamp; None means no timestamp."""
        expected = 0 if self._last is None else self._last + self._interval
        if stamp is None:
            now = expected
        else:
            if self._offset is None or (self._last is not None and stamp + self._offset < self._last - JUMP_BACK_NS):
                self._offset = expected - stamp
            now = stamp + self._offset
        if self._last is not None:
            now = max(now, self._last + LEAST_STEP_NS)
        self._last = now
        return now


class LiveTimeline:
    """Follows a live stream's timestamps while they agree with the clock, otherwise the clock.

    Timestamps of a live stream restart with each connection, wrap, and drift; the clock does not.
    """

    def __init__(self) -> None:
        self._start_ns: int | None = None
        self._offset: int | None = None
        self._last = -LEAST_STEP_NS

    def reconnected(self) -> None:
        """Relate the timestamps of the new connection to the clock again."""
        self._offset = None

    def at(self, stamp: int | None, clock_ns: int) -> int:
        """Nanoseconds between the first frame and the one with this timestamp, decoded at `clock_ns` (monotonic)."""
        if self._start_ns is None:
            self._start_ns = clock_ns
        elapsed = clock_ns - self._start_ns
        if stamp is None:
            now = elapsed
        else:
            if self._offset is None or abs(stamp + self._offset - elapsed) > LIVE_SLACK_NS:
                self._offset = elapsed - stamp
            now = stamp + self._offset
        now = max(now, self._last + LEAST_STEP_NS)
        self._last = now
        return now
