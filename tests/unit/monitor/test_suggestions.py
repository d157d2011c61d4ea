from __future__ import annotations

import pytest

from streamseg.config import Config, check_config
from streamseg.monitor.suggestions import Starvation, suggest_keyframes


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


def camera(**settings: object) -> Config:
    return check_config({"sources": [{"url": "0"}], **settings})


def test_masks_starve_once_three_keyframes_took_more_than_a_second_and_recover_well_below_it() -> None:
    starvation, notices = Starvation(camera(segmenter={"model": "mobilesam"})), list[str | None]()
    for latency_ms in (9000, 400, 500, 1100, 1150, 1250, 900, 900, 740, 740):
        starvation.add(latency_ms)
        starvation.update(0, pending=False)
        notices.append(starvation.notice)
    remedy = "try --set segmenter.imgsz=512"
    slow = f"the CPU is full: keyframes 0.9/s; {remedy}"
    assert notices[:4] == [None, None, None, None], "the first one may take long"
    assert notices[4:8] == [slow, slow, slow, f"the CPU is full: keyframes 1.1/s; {remedy}"]
    assert notices[8:] == [f"the CPU is full: keyframes 1.1/s; {remedy}", None]


def test_masks_starve_when_an_object_waits_six_seconds_for_any_keyframe() -> None:
    starvation = Starvation(camera(segmenter={"model": "nano"}))

    def notice(at_s: float, *, pending: bool) -> str | None:
        starvation.update(at_s * 1000, pending=pending)
        return starvation.notice

    assert [notice(at_s, pending=True) for at_s in (100, 103, 105.9)] == [None] * 3
    assert notice(108, pending=True) == "the CPU is full: keyframes 0.1/s; try fewer programs on this machine"
    starvation.add(500)
    assert notice(108.1, pending=True) is None
    assert [notice(at_s, pending=at_s != 113) for at_s in (113, 114, 119.9)] == [None] * 3, "it waited no longer"
    assert notice(120.1, pending=True) is not None


@pytest.mark.parametrize(
    ("settings", "processor", "remedy"),
    [
        ({"segmenter": {"model": "mobilesam"}}, "CPU", "--set segmenter.imgsz=512"),
        ({"segmenter": {"model": "mobilesam", "imgsz": 512}}, "CPU", "--segmenter nano"),
        ({"segmenter": {"model": "sam-vit-b"}, "device": "cuda"}, "GPU", "--segmenter mobilesam"),
        ({"segmenter": {"model": "a-plug-in"}}, "CPU", "--segmenter nano"),
        ({"segmenter": {"model": "nano"}}, "CPU", "fewer programs on this machine"),
    ],
)
def test_each_segmenter_has_a_faster_alternative(settings: dict[str, object], processor: str, remedy: str) -> None:
    starvation = Starvation(camera(**settings))
    for _ in range(3):
        starvation.add(4000)
    starvation.update(0, pending=False)
    assert starvation.notice == f"the {processor} is full: keyframes 0.2/s; try {remedy}"
