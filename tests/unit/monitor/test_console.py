from __future__ import annotations

import pytest

from streamseg.config import Config, check_config
from streamseg.monitor.console import suggest_keyframes


def config(**settings: object) -> Config:
    return check_config({"sources": [{"url": "clip.mp4"}], **settings})


@pytest.mark.parametrize(
    ("frames", "rate", "left"), [(3000, 1.0, "50 min"), (90_000, 2.0, "12 h"), (300, 1.0, "5 min")]
)
def test_a_long_run_suggests_fewer_keyframes(frames: int, rate: float, left: str) -> None:
    line = suggest_keyframes(config(), frames, rate)
    assert line is not None and f"about {left} left" in line and "segmenter.keyframe_interval=5" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("settings", "frames", "rate"),
    [
        pytest.param(config(), 290, 1.0, id="short"),
        pytest.param(config(), 10_000, 0.0, id="rate unknown"),
        pytest.param(config(segmenter={"keyframe_interval": 2}), 10_000, 1.0, id="propagates masks already"),
        pytest.param(config(mode="live"), 10_000, 1.0, id="live"),
        pytest.param(config(propagate={"enabled": False}), 10_000, 1.0, id="propagation is off"),
    ],
)
def test_other_runs_get_no_suggestion(settings: Config, frames: int, rate: float) -> None:
    assert suggest_keyframes(settings, frames, rate) is None
