"""What would make a long run short."""

from __future__ import annotations

from streamseg.config import Config
from streamseg.monitor.texts import duration_text

_INTERVAL = 5
_LONG_S = 300.0
SETTLED_FRAMES = 60
"""Frames after which the rate of a run can be told."""


def suggest_keyframes(config: Config, frames_left: int, rate: float) -> str | None:
    """A line that says how to be done sooner, where every frame of a long file is segmented.

    Args:
        config: Of the run.
        frames_left: Of the file.
        rate: Frames a second so far.

    Returns:
        None where the run is short, live, or carries masks already.
    """
    every = (
        config.resolved_mode == "every-frame" and config.segmenter.keyframe_interval == 1 and config.propagate.enabled
    )
    if not every or rate <= 0 or frames_left / rate < _LONG_S:
        return None
    return (
        f"about {duration_text(frames_left / rate)} left; --set segmenter.keyframe_interval={_INTERVAL} would segment every fifth frame "
        "alone and carry its masks over the four between, which is several times as fast where masks take longest"
    )
