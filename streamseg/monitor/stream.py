"""Figures of a stream as a subscriber receives it: rates, ages and losses of the last seconds."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from streamseg.messages import ResultMessage, Timings
from streamseg.monitor.latency import Percentiles, percentiles

WINDOW_S: Final = 10.0
"""Seconds that rates and percentiles cover."""
WINDOW_FRAMES: Final = 300
"""Most frames that they cover."""
TIMING_POINTS: Final = Timings.__struct_fields__
"""The points that a frame passes, in the order of `Timings`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFigures:
    """Figures of one source.

    Attributes:
        source: Its name.
        newest: The newest result.
        received: Results of this run since the first one received.
        missed: Frames of the run that are missing between them.
        rate: Results per second within the window.
        methods: Masks of the newest frame by method, the most frequent first.
        mask_age_ms: Of all masks within the window; None without any.
        own_boxes: Share of the window's frames whose boxes were found on the frame itself, 0 to 1; None without frames.
        timings_ms: For each of `TIMING_POINTS` the time since capture; None if no frame of the window passed it.
    """

    source: str
    newest: ResultMessage
    received: int
    missed: int
    rate: float
    methods: tuple[tuple[str, int], ...]
    mask_age_ms: Percentiles | None
    own_boxes: float | None
    timings_ms: tuple[Percentiles | None, ...]


@dataclass(frozen=True, slots=True)
class _Received:
    """What the figures need of a result; its masks are too large to keep."""

    t_s: float
    timings: Timings
    mask_ages_ms: tuple[float, ...]
    own_boxes: bool


class RecentResults:
    """The results of one source within the window. A new run clears it."""

    def __init__(self) -> None:
        self._window: deque[_Received] = deque(maxlen=WINDOW_FRAMES)
        self._newest: ResultMessage | None = None
        self._received = self._missed = 0

    def add(self, result: ResultMessage, t_s: float) -> None:
        """Add a result, received at `t_s` seconds of a monotonic clock."""
        if self._newest is None or self._newest.run_id != result.run_id:
            self._window.clear()
            self._received = self._missed = 0
        self._newest = result
        self._received += 1
        self._missed += result.gap
        ages = tuple(item.age_ms for item in result.objects if item.mask is not None)
        self._window.append(_Received(t_s, result.timings, ages, result.boxes_seq == result.seq))

    def figures(self, now_s: float) -> StreamFigures | None:
        """The figures at `now_s` on the clock of `add`; None before the first result."""
        newest = self._newest
        if newest is None:
            return None
        recent = [one for one in self._window if now_s - one.t_s <= WINDOW_S]
        elapsed_s = now_s - recent[0].t_s if recent else 0.0
        return StreamFigures(
            source=newest.source,
            newest=newest,
            received=self._received,
            missed=self._missed,
            rate=(len(recent) - 1) / elapsed_s if elapsed_s > 0 else 0.0,
            methods=tuple(Counter(item.method for item in newest.objects if item.mask is not None).most_common()),
            mask_age_ms=percentiles([age for one in recent for age in one.mask_ages_ms]),
            own_boxes=sum(one.own_boxes for one in recent) / len(recent) if recent else None,
            timings_ms=tuple(_percentiles_at(point, recent) for point in TIMING_POINTS),
        )


def _percentiles_at(point: str, received: list[_Received]) -> Percentiles | None:
    times_ms = [getattr(one.timings, point) for one in received]
    return percentiles([time_ms for time_ms in times_ms if time_ms is not None])
