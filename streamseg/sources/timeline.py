"""Presentation times that start at zero and always rise, whatever the stream's own timestamps do."""

from __future__ import annotations

import av

LEAST_STEP_NS = 1_000_000
"""Smallest distance of two frames: containers count in milliseconds or finer."""
JUMP_BACK_NS = 1_000_000_000
"""A file's timestamps that fall by more than this have started anew; by less, a single one is wrong."""
LIVE_SLACK_NS = 5_000_000_000
"""How far a live stream's timestamps may leave the wall clock before they are no longer believed."""


def timestamp_ns(picture: av.VideoFrame) -> int | None:
    """The picture's own timestamp in nanoseconds, or None where the stream gives none."""
    ticks = picture.pts if picture.pts is not None else picture.dts
    if ticks is None or picture.time_base is None:
        return None
    return ticks * 1_000_000_000 * picture.time_base.numerator // picture.time_base.denominator


def interval_ns(fps: float | None) -> int:
    """Nanoseconds between two frames; 25 frames a second where the rate is not known."""
    return round(1e9 / (fps or 25.0))


class FileTimeline:
    """Trusts a file's timestamps as far as they rise."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._offset: int | None = None
        self._last: int | None = None

    def at(self, stamp: int | None) -> int:
        """Nanoseconds since the first frame of the frame with this timestamp (None: it has none)."""
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
    """Follows a live stream's timestamps while they agree with the wall clock, and the wall clock where they do not.

    Timestamps of a live stream begin anew with each connection, wrap, and drift; the time since the first frame does not.
    """

    def __init__(self) -> None:
        self._began: int | None = None
        self._offset: int | None = None
        self._last = -LEAST_STEP_NS

    def reconnected(self) -> None:
        """What the timestamps meant before holds no longer."""
        self._offset = None

    def at(self, stamp: int | None, clock_ns: int) -> int:
        """Nanoseconds since the first frame of a frame with this timestamp, decoded at `clock_ns` (monotonic)."""
        if self._began is None:
            self._began = clock_ns
        elapsed = clock_ns - self._began
        if stamp is None:
            now = elapsed
        else:
            if self._offset is None or abs(stamp + self._offset - elapsed) > LIVE_SLACK_NS:
                self._offset = elapsed - stamp
            now = stamp + self._offset
        now = max(now, self._last + LEAST_STEP_NS)
        self._last = now
        return now
