"""What would help a run that is slow. May use the settings and what the stages report."""

from __future__ import annotations

import statistics
from collections import deque
from typing import TYPE_CHECKING, Final

from streamseg.models.options import MOBILE_SAM, NANO, SAM_MODELS
from streamseg.monitor.texts import duration_text

if TYPE_CHECKING:
    from streamseg.config import Config

STARVING_MS: Final = 1000.0
"""Time from a keyframe to its masks from which live masks starve: propagated for longer they lose the object."""
_FED: Final = 0.75
"""Share of that time below which they no longer do: a run at the limit does not change its notice all the time."""
_KEYFRAMES = 3
"""Keyframes whose median counts: the first of a shape may take long once."""
_LONGEST_WAIT_MS = 6000.0
"""An object that waits so long for any keyframe is enough of a sign."""
_KEYFRAME_INTERVAL = 5
_LONG_S = 300.0


class Starvation:
    """Whether the masks of a live source starve, because the segmenter is slow on this machine.

    Attributes:
        notice: One line with the keyframes a second and what to try; None while the masks do not starve.
    """

    def __init__(self, config: Config) -> None:
        self._processor = "GPU" if config.device == "cuda" else "CPU"
        self._remedy = faster_segmenter(config)
        self._latencies_ms: deque[float] = deque(maxlen=_KEYFRAMES)
        self._waiting_since_ms: float | None = None
        self.notice: str | None = None

    def add(self, latency_ms: float) -> None:
        """Count a keyframe whose masks were ready so long after its capture."""
        self._latencies_ms.append(latency_ms)
        self._waiting_since_ms = None

    def update(self, now_ms: float, *, pending: bool) -> None:
        """Decide for a published frame.

        Args:
            now_ms: Of a monotonic clock.
            pending: Whether an object of the frame waits for its mask.
        """
        if not pending:
            self._waiting_since_ms = None
        elif self._waiting_since_ms is None:
            self._waiting_since_ms = now_ms
        waited_ms = 0.0 if self._waiting_since_ms is None else now_ms - self._waiting_since_ms
        known = len(self._latencies_ms) == _KEYFRAMES
        typical_ms = statistics.median(self._latencies_ms) if known else 0.0
        if waited_ms >= _LONGEST_WAIT_MS:
            typical_ms = max(typical_ms, waited_ms)
        if typical_ms <= STARVING_MS * (_FED if self.notice else 1.0):
            self.notice = None
        else:
            rate = 1000 / typical_ms
            self.notice = f"the {self._processor} is full: keyframes {rate:.1f}/s; try {self._remedy}"


def faster_segmenter(config: Config) -> str:
    """What to try if the segmenter of these settings is too slow."""
    segmenter = config.segmenter
    if segmenter.model == MOBILE_SAM and segmenter.imgsz > 512:
        return "--set segmenter.imgsz=512"
    if segmenter.model in SAM_MODELS and segmenter.model != MOBILE_SAM:
        return f"--segmenter {MOBILE_SAM}"
    return "fewer programs on this machine" if segmenter.model == NANO else f"--segmenter {NANO}"


def suggest_keyframes(config: Config, frames_left: int, rate: float) -> str | None:
    """One line on how to finish sooner; None unless every frame of a long file is segmented.

    Args:
        config: The settings of the run.
        frames_left: Frames until its end.
        rate: Frames per second so far.
    """
    every_frame = config.resolved_mode == "every-frame" and config.segmenter.keyframe_interval == 1
    if not (every_frame and config.propagate.enabled) or rate <= 0 or frames_left / rate < _LONG_S:
        return None
    return (
        f"about {duration_text(frames_left / rate)} left; --set segmenter.keyframe_interval={_KEYFRAME_INTERVAL} "
        "segments every fifth frame only and propagates its masks to the others: several times as fast with a slow "
        "segmenter"
    )
