from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import numpy as np
import psutil
import pytest

from streamseg.bench.machine import family_rss_mb
from streamseg.bench.pipeline import PipelineFigures, SegmenterAlone, figures_of, print_pipeline
from streamseg.bench.run import PipelineRun
from streamseg.bench.true_models import FPS, TrueScene, match
from streamseg.masks import Mask
from streamseg.messages import Detection, Dropped, Models, ResultMessage, Timings, TrackedObject

FIRST_PTS_NS = 70_000_000


def result(number: int, masks: list[Mask | None], *, late_boxes: bool = False, dropped: int = 0) -> ResultMessage:
    detection = Detection(xyxy=(0.0, 0.0, 9.0, 9.0), confidence=0.9, class_id=0, class_name="object")
    return ResultMessage(
        run_id="run",
        epoch=0,
        seq=number + 5,
        source="main",
        width=1280,
        height=720,
        pts_ns=FIRST_PTS_NS + round(number * 1e9 / FPS),
        t_capture_unix_ns=0,
        timings=Timings(published=20.0 + number),
        dropped=Dropped(detect_replaced=3, segment_replaced=dropped),
        models=Models(detector="true-boxes", segmenter="true-masks"),
        boxes_seq=number + 5 - late_boxes,
        objects=tuple(
            TrackedObject(detection=detection, mask=mask, method="propagated", age_ms=100.0 + number) for mask in masks
        ),
    )


@pytest.fixture(scope="module")
def figures() -> PipelineFigures:
    """Two frames of the scene: all masks of the first are exact, the second has one true mask and one elsewhere."""
    scene = TrueScene()
    truth = [[item.mask for item in scene.objects(number)] for number in (0, 4)]
    elsewhere = Mask(0, 700, np.ones((9, 9), np.bool_))
    results = [
        result(0, [*truth[0], None], dropped=10),
        result(4, [truth[1][0], elsewhere], late_boxes=True, dropped=50),
    ]
    rss_mb = [float(second) for second in range(60)]
    run = PipelineRun(
        4.0, results, pictures=2, keyframes={"main": 8}, rss_mb=rss_mb, first_pts_ns={"main": FIRST_PTS_NS}
    )
    return figures_of(run, run, SegmenterAlone(0.25, "openvino", "fp32"))


def test_masks_are_compared_with_the_truth_of_their_own_frame(figures: PipelineFigures) -> None:
    scene = TrueScene()
    first, second = len(scene.objects(0)), len(scene.objects(4))
    assert figures.true_objects == first + second
    assert figures.masked_share == pytest.approx((first + 1) / (first + second))
    assert figures.mask_iou == 1.0


def test_rates_ages_drops_and_memory(figures: PipelineFigures) -> None:
    assert (figures.frames, figures.overlays, figures.published_fps, figures.same_frame_boxes) == (2, 2, 0.5, 0.5)
    assert (figures.segmented_fps.in_pipeline, figures.segmented_fps.alone) == (2.0, 4.0)
    assert figures.frame_age_ms is not None and figures.frame_age_ms.p50 == 22.0
    assert figures.mask_age_ms is not None and 100 <= figures.mask_age_ms.p50 < figures.mask_age_ms.p99 <= 104
    assert figures.dropped == Dropped(segment_replaced=40)
    assert (figures.rss_mb.start, figures.rss_mb.end) == (4.5, 54.5)


def test_keys_of_the_json(figures: PipelineFigures) -> None:
    encoded = msgspec.json.encode(figures)
    assert msgspec.json.decode(encoded, type=PipelineFigures) == figures
    plain = msgspec.json.decode(encoded)
    assert set(plain) == {
        "machine", "seconds", "frames", "overlays", "backend", "precision", "published_fps", "frame_age_ms",
        "same_frame_boxes", "mask_age_ms", "segmented_fps", "true_objects", "masked_share", "mask_iou", "dropped",
        "rss_mb", "recording",
    }  # fmt: skip
    assert set(plain["frame_age_ms"]) == set(plain["mask_age_ms"]) == {"p50", "p99"}
    assert set(plain["recording"]) == {"seconds", "published_fps", "frame_age_ms"}
    assert set(plain["machine"]) == {"cpu", "cores", "memory_gb", "system", "python"}


def test_the_table_shows_the_figures(figures: PipelineFigures, capsys: pytest.CaptureFixture[str]) -> None:
    print_pipeline(figures)
    printed = capsys.readouterr().out
    assert "0.5 frames/s" in printed and "segment_replaced 40" in printed and "openvino in fp32" in printed


def test_the_best_pairs_match_first_and_each_at_most_once() -> None:
    assert match([[0.9, 0.8], [0.85, 0.2]], 0.3) == [(0.9, 0, 0)]
    assert match([[0.5, 0.8], [0.4, 0.7]]) == [(0.8, 0, 1), (0.4, 1, 0)]
    assert match([[0.3], [0.31]], 0.3) == [(0.31, 1, 0)]
    assert match([[0.29]], 0.3) == match([[0.0]]) == match([]) == match([[], []]) == []


_FAMILY = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", "held = bytearray(b'1' * 50_000_000); print(flush=True); input()"], stdin=subprocess.PIPE
)
input()
child.communicate()
"""


def test_memory_of_a_process_and_its_child() -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", _FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    program.stdout.readline()  # the child holds its memory
    try:
        measured = family_rss_mb(program.pid)
        process = psutil.Process(program.pid)
        expected = sum(member.memory_full_info().pss for member in (process, *process.children(recursive=True))) / 1e6
        assert measured is not None and measured > 50
        assert measured == pytest.approx(expected, rel=0.05)
    finally:
        program.communicate("\n")
    assert family_rss_mb(program.pid) is None
    assert family_rss_mb(os.getpid()) is not None
