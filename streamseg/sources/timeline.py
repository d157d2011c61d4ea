"""Presentation times that start at zero and always rise, even if the stream's timestamps do not.

No single timestamp is believed: an outlier is replaced by the expected step, a lasting shift is a new base.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    import av

LEAST_STEP_NS: Final = 1_000
"""Least time between two frames."""
FOLLOWING: Final = 4
"""How many later timestamps of a file decide whether one is believed."""
LONG_GAP_NS: Final = 10_000_000_000
"""A longer step where a format lets its clock restart, or at a file's end, is an error; FFmpeg has the same limit."""
LIVE_SLACK_NS: Final = 5_000_000_000
"""Largest difference between a live stream's timestamps and the clock; beyond it the clock decides."""
LIVE_JITTER_NS: Final = 300_000_000
"""By how much a live stream's timestamps may advance faster than the clock from one frame to the next."""
_RECENT_STEPS = 9

Item = TypeVar("Item")
Chain = list[tuple[int, int]]
"""Rising timestamps, each as (index, timestamp)."""


def timestamp_ns(picture: av.VideoFrame) -> int | None:
    """The picture's own timestamp in nanoseconds, or None if it has none."""
    ticks = picture.pts if picture.pts is not None else picture.dts
    if ticks is None or picture.time_base is None:
        return None
    return ticks * 1_000_000_000 * picture.time_base.numerator // picture.time_base.denominator


def interval_ns(fps: float | None) -> int:
    """Nanoseconds between two frames; an unknown rate counts as 25 frames per second."""
    return round(1e9 / (fps or 25.0))


class _Steps:
    """The expected step: the median of the recent ones."""

    def __init__(self, first: int) -> None:
        self._recent = deque((first,), maxlen=_RECENT_STEPS)

    def add(self, step: int) -> None:
        self._recent.append(step)

    @property
    def expected(self) -> int:
        return median_low(self._recent)


class FileTimeline:
    """Decides the times of a file's frames, one after the other, by their timestamps and those that follow."""

    def __init__(self, interval: int, *, restarts: bool = False) -> None:
        """Expect a step of `interval` nanoseconds; `restarts`: the format allows that the stream's clock restarts."""
        self._steps = _Steps(interval)
        self._restarts = restarts
        self._offset = 0
        self._last: int | None = None

    def at(self, stamp: int | None, following: Sequence[int | None] = ()) -> int:
        """Nanoseconds between the first frame and the frame with this timestamp.

        Args:
            stamp: None means no timestamp.
            following: The next `FOLLOWING` timestamps, fewer at the end of the file.
        """
        if self._last is None:
            self._last = 0
            self._offset = -self._first(stamp, following)
            return 0
        now = max(self._next(self._last, stamp, following), self._last + LEAST_STEP_NS)
        self._steps.add(now - self._last)
        self._last = now
        return now

    def _first(self, stamp: int | None, following: Sequence[int | None]) -> int:
        """The timestamp that the first frame should have."""
        chain = _longest_chain((stamp, *following), None, stamp or 0)
        if len(chain) > 1:  # better than the declared rate, which one wrong timestamp spoils
            gaps = ((later[1] - earlier[1]) // (later[0] - earlier[0]) for earlier, later in pairwise(chain))
            self._steps = _Steps(median_low(gaps))
        chain = self._without_wrong_start(chain)
        return 0 if not chain else chain[0][1] - chain[0][0] * self._steps.expected

    def _without_wrong_start(self, chain: Chain) -> Chain:
        return chain[1:] if len(chain) > 1 and self._is_error(chain[1][1] - chain[0][1]) else chain

    def _is_error(self, gap: int) -> bool:
        """Whether an unconfirmed step is too long to be believed."""
        return gap > max(LONG_GAP_NS, 10 * self._steps.expected)

    def _next(self, last: int, stamp: int | None, following: Sequence[int | None]) -> int:
        step = self._steps.expected
        before = last - self._offset
        stamps = (stamp, *following)
        later = _longest_chain(stamps, before, before + step)
        earlier = _longest_chain([None if one is None or one > before else one for one in stamps], None, before + step)
        if len(earlier) > len(later):  # most timestamps lie before the last one: the clock was set back
            if stamp is not None and 0 < stamp - before <= LONG_GAP_NS:
                return stamp + self._offset
            index, believed = self._without_wrong_start(earlier)[0]
            if index == 0:
                self._offset = last + step - believed
            return last + step
        if not later:
            return last + step
        index, believed = later[0]
        gap = believed - before
        if index > 0:
            return last + min(step, gap // (index + 1))
        if (self._restarts and gap > LONG_GAP_NS) or (not following and self._is_error(gap)):
            self._offset = last + step - believed
        return believed + self._offset


def timed(
    items: Iterable[Item], stamp: Callable[[Item], int | None], timeline: FileTimeline
) -> Iterator[tuple[Item, int]]:
    """Yield each item of a file with its time; at most `FOLLOWING` items are read ahead."""
    waiting: deque[tuple[Item, int | None]] = deque()
    for item in items:
        waiting.append((item, stamp(item)))
        if len(waiting) > FOLLOWING:
            yield _timed_first(waiting, timeline)
    while waiting:
        yield _timed_first(waiting, timeline)


def _timed_first(waiting: deque[tuple[Item, int | None]], timeline: FileTimeline) -> tuple[Item, int]:
    item, stamp = waiting.popleft()
    return item, timeline.at(stamp, [one for _, one in waiting])


def _longest_chain(stamps: Sequence[int | None], after: int | None, expected: int) -> Chain:
    """The longest rising chain of timestamps later than `after`; of two the one that starts nearer to `expected`."""
    best: list[Chain] = []
    for index in reversed(range(len(stamps))):
        stamp = stamps[index]
        if stamp is None or (after is not None and stamp <= after):
            continue
        rest = max(
            (chain for chain in best if chain[0][1] > stamp), key=lambda chain: (len(chain), -chain[0][0]), default=[]
        )
        best.append([(index, stamp), *rest])
    return max(best, key=lambda chain: (len(chain), -abs(chain[0][1] - expected), -chain[0][0]), default=[])


@dataclass(frozen=True, slots=True)
class _Base:
    """How a live stream's timestamps relate to its times: the last one, `offset` to be added, and when it arrived."""

    stamp: int
    offset: int
    clock_ns: int

    def continues_at(self, stamp: int, clock_ns: int) -> bool:
        """Whether a timestamp rises, by not much more than the clock."""
        return 0 < stamp - self.stamp <= clock_ns - self.clock_ns + LIVE_JITTER_NS


class LiveTimeline:
    """Follows a live stream's timestamps while they agree with the clock, otherwise the clock.

    Timestamps of a live stream restart with each connection, wrap, jump and drift; the clock does not. A frame cannot
    wait for those behind it: an unlikely timestamp is replaced at once, and is a new base if the next one continues it.
    """

    def __init__(self) -> None:
        self._start_ns: int | None = None
        self._last = -LEAST_STEP_NS
        self._steps: _Steps | None = None
        self._believed: _Base | None = None
        self._doubted: _Base | None = None

    def reconnected(self) -> None:
        """Relate the timestamps of the new connection to the clock again."""
        self._believed = self._doubted = None

    def at(self, stamp: int | None, clock_ns: int) -> int:
        """Nanoseconds between the first frame and the one with this timestamp, decoded at `clock_ns` (monotonic)."""
        if self._start_ns is None:
            self._start_ns = clock_ns
        elapsed = clock_ns - self._start_ns
        now = elapsed if stamp is None else self._follow(stamp, clock_ns, elapsed)
        now = max(now, self._last + LEAST_STEP_NS)
        if self._believed is not None and self._last >= 0:
            step = now - self._last
            if self._steps is None:
                self._steps = _Steps(step)
            self._steps.add(step)
        self._last = now
        return now

    def _follow(self, stamp: int, clock_ns: int, elapsed: int) -> int:
        if self._believed is None:
            self._believed = _Base(stamp, elapsed - stamp, clock_ns)
            return elapsed
        for base in filter(None, (self._believed, self._doubted)):
            if base.continues_at(stamp, clock_ns):
                nearest = min(max(stamp + base.offset, elapsed - LIVE_SLACK_NS), elapsed + LIVE_SLACK_NS)
                self._believed, self._doubted = _Base(stamp, nearest - stamp, clock_ns), None
                return nearest
        step = elapsed - self._last if self._steps is None else self._steps.expected
        now = min(max(self._last + step, elapsed - LIVE_SLACK_NS), elapsed + LIVE_SLACK_NS)
        self._doubted = _Base(stamp, now - stamp, clock_ns)
        return now
