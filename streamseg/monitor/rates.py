"""How a stream of results goes: rates, ages and losses over the last seconds (pure: results in, figures out)."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

import msgspec

from streamseg.messages import Dropped, Result, Timings
from streamseg.monitor.latency import Percentiles, percentiles

WINDOW_S: Final = 10.0
"""Seconds over which rates and percentiles are taken."""
WINDOW_FRAMES: Final = 300
"""Most frames that they are taken over."""
TIMING_POINTS: Final = tuple(field.name for field in msgspec.structs.fields(Timings))
"""The points of the timings, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFigures:
    """How the results of one source go.

    Attributes:
        source: Its name.
        newest: The newest result.
        received: Results since this run was first heard of.
        missed: Frames of the run that were not received between those that were.
        rate: Results a second, within the window.
        methods: What made the newest frame's masks, with how many each.
        mask_age_ms: Age of the masks within the window; None without any.
        own_boxes: Share of the window's frames whose boxes were found on the frame itself, 0 to 1; None without frames.
        timings_ms: For each of `TIMING_POINTS`, the milliseconds since capture; None where no frame of the window passed it. The last,
            `published`, is a frame's age when it is published.
    """

    source: str
    newest: Result
    received: int
    missed: int
    rate: float
    methods: tuple[tuple[str, int], ...]
    mask_age_ms: Percentiles | None
    own_boxes: float | None
    timings_ms: tuple[Percentiles | None, ...]

    @property
    def dropped(self) -> Dropped:
        """What the pipeline has dropped so far, by cause."""
        return self.newest.dropped


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is kept of a result: not its masks, which are large."""

    t_s: float
    timings: Timings
    mask_ages_ms: tuple[float, ...]
    own_boxes: bool


class RecentResults:
    """The results of one source within the window; a new run begins anew. Memory does not grow with time."""

    def __init__(self) -> None:
        self._window: deque[_Seen] = deque(maxlen=WINDOW_FRAMES)
        self._newest: Result | None = None
        self._received = self._missed = 0

    def add(self, result: Result, t_s: float) -> None:
        """Take in a result.

        Args:
            result: Newer than those before.
            t_s: When it was received, in seconds of any clock that does not go back.
        """
        if self._newest is None or self._newest.run_id != result.run_id:
            self._window.clear()
            self._received = self._missed = 0
        self._newest = result
        self._received += 1
        self._missed += result.gap
        ages = tuple(item.age_ms for item in result.objects if item.mask is not None)
        self._window.append(_Seen(t_s, result.timings, ages, result.boxes_seq == result.seq))

    def figures(self, now_s: float) -> StreamFigures | None:
        """How it goes now, on the clock of `add`; None before the first result."""
        newest = self._newest
        if newest is None:
            return None
        seen = [one for one in self._window if now_s - one.t_s <= WINDOW_S]
        elapsed_s = now_s - seen[0].t_s if seen else 0.0
        return StreamFigures(
            source=newest.source,
            newest=newest,
            received=self._received,
            missed=self._missed,
            rate=(len(seen) - 1) / elapsed_s if elapsed_s > 0 else 0.0,
            methods=tuple(Counter(item.method for item in newest.objects if item.mask is not None).most_common()),
            mask_age_ms=percentiles([age for one in seen for age in one.mask_ages_ms]),
            own_boxes=sum(one.own_boxes for one in seen) / len(seen) if seen else None,
            timings_ms=tuple(_passed([getattr(one.timings, point) for one in seen]) for point in TIMING_POINTS),
        )


def _passed(times_ms: list[float | None]) -> Percentiles | None:
    return percentiles([time_ms for time_ms in times_ms if time_ms is not None])
