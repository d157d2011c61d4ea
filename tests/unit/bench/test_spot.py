"""The benchmark of spot, on a few photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from benchmarks import spot
from benchmarks.spot import bench_spot, print_spot
from streamseg.errors import DataError
from streamseg.models.trained_on import TrainedOn, fingerprint


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures with one object each, and few rounds."""
    monkeypatch.setattr(spot, "_ROUNDS", 1)
    (tmp_path / "images").mkdir()
    for number in range(2):
        picture = np.random.default_rng(number).integers(0, 256, (96, 128, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), picture)
    write(tmp_path, "person")
    return tmp_path


def write(folder: Path, name: str) -> None:
    images = [{"id": number, "file_name": f"{number}.png", "width": 128, "height": 96} for number in range(2)]
    boxes = [{"id": number, "image_id": number, "category_id": 1, "bbox": [10, 10, 50, 60]} for number in range(2)]
    coco = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": name}]}
    (folder / "instances.json").write_bytes(msgspec.json.encode(coco))


def test_both_detectors_have_figures(
    folder: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rival = shared_data / "yolox_nano.onnx"
    figures = bench_spot([folder], rival, rival, lambda line: None)
    (measured,) = figures.folders
    assert measured.photographs == 2 and measured.spot == measured.yolox_nano
    assert list(measured.spot.ap50_of_class) == ["person"]
    assert figures.spot_ms > 0 and figures.yolox_nano_ms > 0 and figures.file_bytes == rival.stat().st_size
    print_spot(figures)
    assert "2 photographs" in capsys.readouterr().out

    seen = TrainedOn(frozenset({fingerprint((folder / "images" / "0.png").read_bytes())}))
    monkeypatch.setattr(spot, "read_trained_on", lambda path: seen)
    assert bench_spot([folder], None, rival, lambda line: None).folders[0].photographs == 1


def test_other_data_are_one_line(folder: Path, shared_data: Path) -> None:
    rival = shared_data / "yolox_nano.onnx"
    with pytest.raises(DataError, match="holds nothing to measure on"):
        bench_spot([folder / "images"], None, rival, lambda line: None)
    write(folder, "forklift")
    with pytest.raises(DataError, match="has classes that are not COCO's: forklift"):
        bench_spot([folder], None, rival, lambda line: None)
