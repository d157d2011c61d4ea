"""How many objects a live frame propagates: as many as its time allows, so that publish keeps the camera's rate."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from streamseg.ipc.clock import Clock

ALWAYS: Final = 6
"""Objects that every frame propagates: their masks improve even on a machine that is too slow for the camera."""
CROWD: Final = 24
"""Objects above which moving and drawing takes most of the time, so that fewer are propagated."""
ALWAYS_OF_A_CROWD: Final = 1
"""Of so many, a frame propagates these: each object still has its turn every few seconds."""
_SHARE = 0.6
"""Share of the time between two frames that publish may work. The rest is for the other stages and for what varies."""
_LONGEST_NS = 100_000_000
"""Time between two frames that counts at most: a slow camera must not make its frames old."""
_FRAMES = 15
"""Frames over which times are measured. Their median counts, so a single pause changes nothing."""


class FrameBudget:
    """The time of each frame: between two frames of the camera, of propagation, and of all other work of publish."""

    def __init__(self, clock: Clock) -> None:
        """Begin without measurements: the first frames propagate few objects."""
        self._clock = clock
        self._newest: tuple[int, int] | None = None
        self._intervals_ns: deque[float] = deque(maxlen=_FRAMES)
        self._per_object_ns: deque[float] = deque(maxlen=_FRAMES)
        self._other_ns: deque[float] = deque(maxlen=_FRAMES)
        self._propagated_ns = self._worked_ns = 0

    def most(self, objects: int) -> int:
        """How many of so many objects the next frame propagates at most."""
        always = ALWAYS if objects <= CROWD else ALWAYS_OF_A_CROWD
        if not (self._intervals_ns and self._per_object_ns and self._other_ns):
            return always
        time_ns = _SHARE * min(statistics.median(self._intervals_ns), _LONGEST_NS) - statistics.median(self._other_ns)
        return max(int(time_ns / max(statistics.median(self._per_object_ns), 1)), always)

    def add_frame(self, seq: int, t_capture_ns: int) -> None:
        """Note a frame of the camera."""
        if self._newest is not None and seq > self._newest[0]:
            self._intervals_ns.append((t_capture_ns - self._newest[1]) / (seq - self._newest[0]))
        self._newest = seq, t_capture_ns

    @contextmanager
    def propagation(self) -> Iterator[None]:
        """Measure work of propagation; it may take several pieces for one frame."""
        began_ns = self._clock.now_ns()
        yield
        took_ns = self._clock.now_ns() - began_ns
        self._propagated_ns += took_ns
        self._worked_ns -= took_ns

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Measure all work of publish, with that of propagation."""
        began_ns = self._clock.now_ns()
        yield
        self._worked_ns += self._clock.now_ns() - began_ns

    def add_propagated(self, objects: int) -> None:
        """Note that the work of propagation since the last call was that of a frame with so many propagated objects."""
        if objects:
            self._per_object_ns.append(self._propagated_ns / objects)
        self._propagated_ns = 0

    def add_published(self) -> None:
        """Note that the work since the last call was that of one frame. Call it between two turns."""
        self._other_ns.append(self._worked_ns)
        self._worked_ns = 0
