"""The whole demo on a machine without a network, with the models that come with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from support.pipeline_runs import Record, Run, read_records
from support.wheel import Installation

from streamseg.demo import demo_clip
from streamseg.errors import MissingPackageError
from streamseg.geometry import box_iou
from streamseg.messages import Detection, Image
from streamseg.models.detectors.yolox import YoloxDetector
from streamseg.models.options import Compute, DetectorSettings

SHOWN = ("person", "car", "bicycle")
"""What the clip is about."""
SURE = 0.5
"""Confidence from which a downloaded detector's objects have to be found."""


@dataclass(frozen=True)
class Demonstration:
    """The output of one run of the demo."""

    status: int
    output: str
    errors: str
    folder: Path
    records: list[Record]


@pytest.fixture(scope="module")
def frames(continuous_integration: bool) -> list[Image]:
    try:
        clip = demo_clip()
    except MissingPackageError as error:
        if continuous_integration:
            pytest.fail(str(error))
        pytest.skip(str(error))
    with av.open(str(clip)) as container:
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def demonstration(frames: list[Image], small: Installation, tmp_path_factory: pytest.TempPathFactory) -> Demonstration:
    """The demo of the installed wheel, with an empty cache and a proxy address at which nothing listens."""
    folder = tmp_path_factory.mktemp("demo")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**nowhere, **dict.fromkeys(("no_proxy", "NO_PROXY", "PYTHONPATH"), "")}
    environment["STREAMSEG_CACHE"] = str(folder / "cache")
    with Run("demo", "--output", str(folder / "out"), cwd=folder, environment=environment, python=small.python) as run:
        status, output, errors = run.finish(240)
    records = folder / "out" / "demo.jsonl"
    return Demonstration(status, output, errors, folder / "out", read_records(records) if records.exists() else [])


def test_it_needs_no_network_and_names_what_it_sees(demonstration: Demonstration) -> None:
    assert demonstration.status == 0, demonstration.errors
    assert "the weights of" not in demonstration.errors
    assert "models: spot + nano" in demonstration.output
    assert str(demonstration.folder / "demo.mp4") in demonstration.output


def test_every_frame_of_the_clip_is_in_the_video_and_in_the_records(
    frames: list[Image], demonstration: Demonstration
) -> None:
    assert [int(record.seq) for record in demonstration.records] == list(range(len(frames)))
    with av.open(str(demonstration.folder / "demo.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(frames)


def test_what_a_downloaded_detector_is_sure_of_is_named_and_masked_in_four_of_five_frames(
    frames: list[Image], demonstration: Demonstration, shared_data: Path
) -> None:
    settings = DetectorSettings(model="yolox-nano", conf=SURE)
    detector = YoloxDetector(settings, Compute(threads=1), shared_data / "yolox_nano.onnx")
    found = []
    for image, record in zip(frames, demonstration.records, strict=True):
        expected = [one for one in detector.detect(image) if one.class_name in SHOWN]
        if expected:
            found.append(any(is_masked(one, record) for one in expected))
    assert len(found) > 100
    assert np.mean(found) >= 0.8, f"{sum(found)} of {len(found)} frames"


def is_masked(expected: Detection, record: Record) -> bool:
    """Whether a record has the object, by class and box, and a mask that fills a good part of the box."""
    for item in record.objects:
        if item.class_name == expected.class_name and box_iou(item.xyxy, expected.xyxy) >= 0.5 and item.mask:
            left, top, right, bottom = expected.xyxy
            filled = item.mask.bits()[round(top) : round(bottom), round(left) : round(right)]
            return bool(filled.mean() >= 0.2)
    return False
