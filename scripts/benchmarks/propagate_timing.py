"""What carrying five masks to the next frame costs, by each way to do it, on the same frames."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Mapping, Sequence

from benchmarks.carried import PlainFlow, grey
from benchmarks.propagate_carriers import StartCarrier, Step
from benchmarks.propagate_footage import Shown
from benchmarks.propagate_scenes import FIVE_OBJECTS, HEIGHT, WIDTH, film

_BLOCK = 30
"""Frames that one way is timed on, from known masks on, before the next way has its turn."""
_BLOCKS = 5
_WARM_UP_BLOCKS = 1


def carrying_ms(ways: Mapping[str, StartCarrier]) -> tuple[dict[str, float], int]:
    """The median time of each way by its name, in milliseconds, and of how many frames it is."""
    finder = PlainFlow(HEIGHT, WIDTH)
    times: dict[str, list[float]] = {name: [] for name in ways}
    frames = film(FIVE_OBJECTS, 0, frames=_BLOCK * (_WARM_UP_BLOCKS + _BLOCKS))
    for block in range(_WARM_UP_BLOCKS + _BLOCKS):
        shown = list(itertools.islice(frames, _BLOCK))
        for name, start in ways.items():
            spent = _spent_ms(start, shown, finder)
            if block >= _WARM_UP_BLOCKS:
                times[name] += spent
    return {name: statistics.median(spent) for name, spent in times.items()}, _BLOCKS * (_BLOCK - 1)


def _spent_ms(start: StartCarrier, shown: Sequence[Shown], finder: PlainFlow) -> list[float]:
    """On each frame of a block but the first."""
    carrier = start(0, shown[0])
    spent = []
    for seq, (before, after) in enumerate(itertools.pairwise(shown), 1):
        step = Step(seq, after.image, after.boxes, grey(before.image), finder)
        began = time.perf_counter()
        carrier.follow(step)
        spent.append(1000 * (time.perf_counter() - began))
    return spent
