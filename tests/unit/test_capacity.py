from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.empty_exports import export_empty_files
from support.stage_context import stage_config

from streamseg import capacity
from streamseg.capacity import Load, find_remedies, measure_keyframes, measure_load
from streamseg.config import Config, check_config
from streamseg.errors import UsageError
from streamseg.messages import Detection, Image
from streamseg.models.segmenters.mobile_sam.export import Exports
from streamseg.models.segmenters.mobile_sam.input_grid import CAMERA, InputGrid
from streamseg.sources.probe import Probe, SourceFigures

LOAD = Load(detector="yolox-nano", detect_ms=10.0, read_share=0.2, detect_share=0.6, remedies=())


def probe(fps: float, height: int = 120) -> Probe:
    figures = SourceFigures(size=(160, height), codec="h264", fps=fps, jitter_ms=1.0, lost_packets=None, read_share=0.1)
    return Probe(figures, np.full((height, 160, 3), 90, np.uint8))


def test_the_cost_of_live_sources_counts_the_frames_that_are_analysed() -> None:
    sources = [{"url": 0, "name": "a"}, {"url": 1, "name": "b", "fps": 5}]
    config = check_config({"sources": sources, "detector": {"model": "motion"}, "segmenter": {"model": "nano"}})
    load = measure_load(config, {"a": probe(30), "b": probe(30)}, 1)
    assert load.detect_ms > 0
    assert load.detect_share == pytest.approx(35 * load.detect_ms / 1000)
    assert load.read_share == pytest.approx(0.2)


def test_all_sources_share_the_keyframes() -> None:
    keyframes = measure_keyframes(stage_config("live"), {"a": probe(30), "b": probe(30)}, 1)
    assert (keyframes.segmenter, keyframes.remedy) == ("nano", None)
    assert keyframes.rate == pytest.approx(1000 / keyframes.segment_ms)
    assert keyframes.source_rate == pytest.approx(keyframes.rate / 2)


def test_files_wait_and_need_no_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "_median_ms", lambda work, images: 9000.0)
    probes = {"main": probe(3000)}
    load = measure_load(stage_config(), probes, 1)
    assert (load.detect_share, load.remedies) == (None, ())
    assert measure_keyframes(stage_config(), probes, 1).remedy is None
    assert measure_keyframes(stage_config("live"), probes, 1).remedy == "fewer programs on this machine"


@pytest.mark.parametrize(
    ("figures", "remedies"),
    [
        ({}, []),
        ({"detect_share": 1.5}, ["--set fps=20 or --set detector.imgsz=320"]),
        (
            {"detect_share": 9.0, "detect_ms": 900.0},
            ["fewer sources or --set detector.imgsz=320"],
        ),
        ({"read_share": 99.0}, ["smaller streams (sub-streams) of the cameras"]),
        ({"detect_share": None, "read_share": 99.0}, []),
    ],
)
def test_what_is_too_much_has_a_remedy(figures: dict[str, float], remedies: list[str]) -> None:
    config = stage_config("live", detector={"model": "yolox-nano"}, segmenter={"model": "mobilesam"})
    assert list(find_remedies(config, msgspec.structs.replace(LOAD, **figures), sources=4)) == remedies


class Counting:
    """A segmenter that notes the heights of its pictures."""

    name = "mobilesam"

    def __init__(self) -> None:
        self.heights: set[int] = set()

    def describe(self) -> str:
        return "mobilesam (counting)"

    def encode(self, image: Image) -> Image:
        self.heights.add(image.shape[0])
        return image

    def decode(self, embedding: Image, detections: Sequence[Detection]) -> list[object]:
        return []


@pytest.fixture
def mobile_sam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Settings with MobileSAM, whose weights are there and whose networks are not exported."""
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "cache"))
    (tmp_path / "weights.pt").write_bytes(b"PK\x03\x04 weights")
    segmenter = {"model": "mobilesam", "weights": str(tmp_path / "weights.pt"), "backend": "onnxruntime"}
    return stage_config("live", segmenter=segmenter)


def test_mobilesam_is_measured_with_pictures_whose_networks_are_exported(
    mobile_sam: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Counting()
    monkeypatch.setattr(capacity, "create_segmenter", lambda settings, compute, exporting: model)
    exports = Exports.of(tmp_path / "weights.pt")
    probes = {"square": probe(30, 160), "wide": probe(30, 90)}
    not_exported = r"^not measured, the networks of mobilesam for these pictures are not exported; "
    with pytest.raises(UsageError, match=not_exported):
        measure_keyframes(mobile_sam, probes, 1)
    assert not (tmp_path / "cache").exists(), "nothing is made"
    exports.folder.mkdir(parents=True)
    export_empty_files(exports, [InputGrid.of_picture(CAMERA, 1024)], lambda done, total: None)
    with pytest.raises(UsageError, match=not_exported):
        measure_keyframes(mobile_sam, {"square": probe(30, 160)}, 1)
    assert measure_keyframes(mobile_sam, probes, 1).segmenter == "mobilesam (counting)"
    assert model.heights == {90}
    export_empty_files(exports, [InputGrid.of_picture((160, 160), 1024)], lambda done, total: None)
    measure_keyframes(mobile_sam, probes, 1)
    assert model.heights == {90, 160}


def test_a_damaged_export_is_not_made_again(
    mobile_sam: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports = Exports.of(tmp_path / "weights.pt")
    exports.folder.mkdir(parents=True)
    export_empty_files(exports, [InputGrid.of_picture(CAMERA, 1024)], lambda done, total: None)
    with pytest.raises(UsageError, match="not measured, the networks of mobilesam"):
        measure_keyframes(mobile_sam, {"wide": probe(30, 90)}, 1)


def test_one_picture_of_each_frequent_size_is_enough() -> None:
    images = [probe(30, height).image for height in (50, 60, 60, 70, 70, 80, 80)]
    assert [image.shape[0] for image in capacity._of_each_size(images)] == [60, 70]
