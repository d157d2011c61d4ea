"""The whole demo on a machine without a network, with the models that need no weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support.pipeline_runs import Record, Run, read_records
from support.wheel import Installation

from streamseg.demo import demo_clip
from streamseg.errors import MissingPackageError

WIDTH, HEIGHT = 320, 180
"""Size of the pictures on which movement is measured, a quarter of the clip's."""
MOVES_PX = 1.0
"""Length of optical flow from which a pixel moves: 4 pixels of the clip, above its noise."""
MOVING_SHARE = 0.005
"""Share of moving pixels from which a frame has movement: about 17x17 at 320x180. Still frames of the clip have 0."""
TOUCHED_SHARE = 0.25
"""Share of the moving pixels from which masks cover the movement.

Masks of the clip's other half, or at a wrong position, reach it in three frames of five."""
NOT_EVERYTHING = 0.5
"""Masks that cover more of the frame than this do not count: they would cover any movement."""


@dataclass(frozen=True)
class Demonstration:
    """The output of one run of the demo."""

    status: int
    output: str
    errors: str
    folder: Path
    records: list[Record]


@pytest.fixture(scope="module")
def clip(continuous_integration: bool) -> Path:
    try:
        return demo_clip()
    except MissingPackageError as error:
        if continuous_integration:
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def demonstration(clip: Path, small: Installation, tmp_path_factory: pytest.TempPathFactory) -> Demonstration:
    """The demo of the installed wheel, with an empty cache and a proxy address at which nothing listens."""
    folder = tmp_path_factory.mktemp("demo")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**nowhere, **dict.fromkeys(("no_proxy", "NO_PROXY", "PYTHONPATH"), "")}
    environment["STREAMSEG_CACHE"] = str(folder / "cache")
    with Run("demo", "--output", str(folder / "out"), cwd=folder, environment=environment, python=small.python) as run:
        status, output, errors = run.finish(240)
    records = folder / "out" / "demo.jsonl"
    return Demonstration(status, output, errors, folder / "out", read_records(records) if records.exists() else [])


@pytest.fixture(scope="module")
def movement(clip: Path) -> list[NDArray[np.bool_]]:
    """The moving pixels of each frame, by dense optical flow from the frame before: shape (HEIGHT, WIDTH)."""
    moving = []
    before = None
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            small = cv2.resize(frame.to_ndarray(format="gray"), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            grey = np.asarray(cv2.GaussianBlur(small, (5, 5), 0), np.uint8)
            flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
            if before is not None:
                cv2.calcOpticalFlowFarneback(before, grey, flow, 0.5, 4, 15, 3, 5, 1.1, 0)
            moving.append(np.hypot(flow[..., 0], flow[..., 1]) > MOVES_PX)
            before = grey
    return moving


def masked(record: Record) -> NDArray[np.bool_]:
    """The pixels under any mask of a record: shape (HEIGHT, WIDTH)."""
    covered = np.zeros((record.height, record.width), np.bool_)
    for item in record.objects:
        if item.mask is not None:
            covered |= item.mask.bits()
    return cv2.resize(covered.view(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST).astype(np.bool_)


def test_it_succeeds_and_logs_in_one_line_why_it_uses_no_weights(demonstration: Demonstration) -> None:
    assert demonstration.status == 0, demonstration.errors
    reasons = [line for line in demonstration.errors.splitlines() if "the weights of" in line]
    assert len(reasons) == 1
    assert reasons[0].startswith(
        "using motion + nano: the weights of yolox-nano are not available (the proxy could not"
    )
    assert "models: motion + nano" in demonstration.output
    assert str(demonstration.folder / "demo.mp4") in demonstration.output


def test_every_frame_of_the_clip_is_in_the_video_and_in_the_records(
    movement: list[NDArray[np.bool_]], demonstration: Demonstration
) -> None:
    assert len(movement) > 100
    assert [int(record.seq) for record in demonstration.records] == list(range(len(movement)))
    with av.open(str(demonstration.folder / "demo.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(movement)


def test_moving_pixels_have_a_mask_in_four_of_five_frames(
    movement: list[NDArray[np.bool_]], demonstration: Demonstration
) -> None:
    pairs = zip(movement, demonstration.records, strict=True)
    lively = [(moving, masked(record)) for moving, record in pairs if moving.mean() >= MOVING_SHARE]
    assert len(lively) >= 40, "the clip has hardly any movement, or the measure does not see it"
    touched = [
        covered.mean() <= NOT_EVERYTHING and (moving & covered).sum() >= TOUCHED_SHARE * moving.sum()
        for moving, covered in lively
    ]
    assert np.mean(touched) >= 0.8, f"{sum(touched)} of {len(touched)} frames"
