from __future__ import annotations

import statistics
from pathlib import Path

import msgspec
import pytest

from benchmarks.detector import DetectorFigures, bench_detector
from streamseg.errors import CheckpointError, WeightsError


def test_figures_of_a_short_measurement(shared_data: Path) -> None:
    figures = bench_detector(shared_data / "yolox_nano.onnx", rounds=12)
    steps = (figures.preprocess_ms, figures.network_ms, figures.postprocess_ms)
    assert all(0.01 < step < 1000 for step in steps)
    assert figures.network_ms == max(steps)
    assert max(steps) <= figures.frame_ms < 3000
    assert figures.load_ms > 1 and figures.first_result_ms > statistics.median(steps)
    assert figures.import_ms > 1
    assert figures.libraries_mb is not None and 5 < figures.libraries_mb < 500
    assert figures.rss_mb is not None and 5 < figures.rss_mb < 500
    assert msgspec.json.decode(msgspec.json.encode(figures), type=DetectorFigures) == figures


def test_weights_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.onnx"):
        bench_detector(tmp_path / "none.onnx")
    path = tmp_path / "text.onnx"
    path.write_text("this is no model")
    with pytest.raises(CheckpointError, match=r"^[^\n]+text\.onnx[^\n]+YOLOX[^\n]+$"):
        bench_detector(path)
