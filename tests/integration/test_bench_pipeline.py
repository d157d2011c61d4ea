from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from support.leftovers import Place

from streamseg.bench.cameras import ManyCameras
from streamseg.bench.crowd import CrowdFigures
from streamseg.bench.pipeline import PipelineFigures


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_short_measurement_of_the_whole_pipeline(shared_data: Path, place: Place) -> None:
    quick = ("--seconds", "2", "--set", "segmenter.backend=torch", "--set", "segmenter.imgsz=512")
    weights = str(shared_data / "yolox_nano.onnx")
    with place.run("bench", "pipeline", "--json", *quick, "--detector-weights", weights) as run:
        status, output, errors = run.finish(540)
    assert status == 0, errors
    figures = msgspec.json.decode(output, type=PipelineFigures, strict=True)
    assert figures.seconds == pytest.approx(2, abs=1)
    assert (figures.backend, figures.precision) == ("torch", "fp32")
    assert 0 < figures.frames <= 31 * figures.seconds
    assert 0 < figures.overlays <= 31 * figures.seconds
    for ages in (figures.frame_age_ms, figures.recording.frame_age_ms):
        assert ages is not None and 0 < ages.p50 <= ages.p99
    assert figures.segmented_fps.alone > 0
    assert 3 * figures.frames <= figures.true_objects <= 5 * figures.frames
    assert (figures.mask_iou is None) == (figures.masked_share == 0)
    assert figures.mask_iou is None or 0.3 <= figures.mask_iou <= 1
    assert figures.rss_mb.start is not None and figures.rss_mb.start > 300
    assert figures.recording.published_fps > 0
    place.check_nothing_left()


def test_missing_weights_end_it_at_once(tmp_path: Path, place: Place) -> None:
    with place.run("bench", "pipeline", "--detector-weights", str(tmp_path / "none.onnx")) as run:
        status, _, errors = run.finish(60)
    assert status == 4
    assert "none.onnx" in errors


@pytest.mark.timeout(300)
def test_what_many_objects_cost(place: Place) -> None:
    with place.run("bench", "pipeline", "--json", "--objects", "40", "--seconds", "3") as run:
        status, output, errors = run.finish(240)
    assert status == 0, errors
    figures = msgspec.json.decode(output, type=CrowdFigures, strict=True)
    assert 30 < figures.objects_per_frame <= 45
    shares = {each.method: each.share for each in figures.methods}
    assert shares.keys() <= {"moved", "propagated", "segmented", "pending", "none"}
    assert sum(shares.values()) == pytest.approx(1)
    assert figures.rss_mb is not None and figures.rss_mb < 700
    assert {step.stage for step in figures.steps} == {"detect", "segment", "publish", "record"}
    assert all(step.frame_ms > 0 and step.objects > 25 for step in figures.steps)
    place.check_nothing_left()


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_short_measurement_of_several_cameras(place: Place) -> None:
    quick = ("--seconds", "3", "--set", "segmenter.backend=torch", "--set", "segmenter.imgsz=512")
    counts = ("--sources", "1", "--sources", "2", "--separate", "2")
    with place.run("bench", "cameras", "--json", *counts, *quick) as run:
        status, output, errors = run.finish(540)
    assert status == 0, errors
    figures = msgspec.json.decode(output, type=ManyCameras, strict=False)
    assert figures.separate_runs is not None
    assert (list(figures.sources), list(figures.separate_runs)) == ([1, 2], [2])
    for count, each in (*figures.sources.items(), *figures.separate_runs.items()):
        assert len(each.published_fps) == len(each.keyframes_per_s) == count
        assert all(0 < fps <= 16 for fps in each.published_fps)
        assert 0 < each.masked_share <= 1
        assert each.rss_mb is not None and each.rss_mb > 200
        assert each.cpu_s_per_frame is not None and 0 < each.cpu_s_per_frame < 5
    assert 0 < figures.hub_hop_ms.p50 < 50
    place.check_nothing_left()
