from __future__ import annotations

import msgspec
import numpy as np
import pytest
from support.stage_context import stage_config

from streamseg.capacity import Capacity, find_remedies, measure_capacity
from streamseg.config import check_config
from streamseg.sources.probe import Probe, SourceFigures

CAPACITY = Capacity(
    detector="yolox-nano",
    segmenter="mobilesam",
    detect_ms=10.0,
    segment_ms=300.0,
    read_share=0.2,
    detect_share=0.6,
    keyframe_rate=1.6,
    remedies=(),
)


def probe(fps: float) -> Probe:
    figures = SourceFigures(size=(160, 120), codec="h264", fps=fps, jitter_ms=1.0, lost_packets=None, read_share=0.1)
    return Probe(figures, np.full((120, 160, 3), 90, np.uint8))


def test_the_cost_of_live_sources_counts_the_frames_that_are_analysed() -> None:
    sources = [{"url": 0, "name": "a"}, {"url": 1, "name": "b", "fps": 5}]
    config = check_config({"sources": sources, "detector": {"model": "motion"}, "segmenter": {"model": "nano"}})
    capacity = measure_capacity(config, {"a": probe(30), "b": probe(30)}, (1, 1))
    assert capacity.detect_ms > 0
    assert capacity.segment_ms > 0
    assert capacity.detect_share == pytest.approx(35 * capacity.detect_ms / 1000)
    assert capacity.keyframe_rate == pytest.approx(500 / capacity.segment_ms)
    assert capacity.read_share == pytest.approx(0.2)


def test_files_wait_and_need_no_remedy() -> None:
    capacity = measure_capacity(stage_config(), {"main": probe(3000)}, (1, 1))
    assert (capacity.detect_share, capacity.remedies) == (None, ())


@pytest.mark.parametrize(
    ("figures", "remedies"),
    [
        ({}, []),
        ({"detect_share": 1.5}, ["--set fps=20 or --set detector.imgsz=320"]),
        (
            {"detect_share": 9.0, "detect_ms": 900.0},
            ["fewer sources or --set detector.imgsz=320"],
        ),
        ({"keyframe_rate": 0.8}, ["--set segmenter.imgsz=512"]),
        ({"read_share": 99.0}, ["smaller streams (sub-streams) of the cameras"]),
        ({"detect_share": None, "keyframe_rate": 0.1}, []),
    ],
)
def test_what_is_too_much_has_a_remedy(figures: dict[str, float], remedies: list[str]) -> None:
    config = stage_config("live", detector={"model": "yolox-nano"}, segmenter={"model": "mobilesam"})
    assert list(find_remedies(config, msgspec.structs.replace(CAPACITY, **figures), sources=4)) == remedies
