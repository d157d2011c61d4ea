"""What a whole running pipeline reaches: 720p at 30 frames a second, both networks in full, two subscribers."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from streamseg.bench.machine import this_machine
from streamseg.bench.pipeline_figures import (
    FrameSeen,
    PipelineFigures,
    RecordingFigures,
    SegmentedFps,
    dropped_between,
    ends_of,
    frame_seen,
    percentiles,
)
from streamseg.bench.process import Measured, Work, measure
from streamseg.bench.scene import draw_scene
from streamseg.bench.true_boxes import NETWORK
from streamseg.bench.true_scene import TrueScene
from streamseg.bench.whole_run import WholeRun, WholeRunOptions, run_whole
from streamseg.errors import UsageError
from streamseg.messages import Result
from streamseg.models.options import MOBILE_SAM
from streamseg.models.weights import resolve
from streamseg.wire.protocol import decode

LEAST_SECONDS = 2.0
_RECORDED_SHARE = 1 / 3
"""How much shorter the run with a recording is."""
_ALONE_ROUNDS = 30
_ALONE_S = 20.0


def bench_pipeline(
    seconds: float, detector_weights: Path | None = None, progress: Callable[[str], None] | None = None
) -> PipelineFigures:
    """Measure the segmenter alone, the pipeline, and the pipeline while it records.

    Args:
        seconds: How long the pipeline is counted.
        detector_weights: YOLOX-Nano's; None takes the official file from the cache, or downloads it.
        progress: Is told what is done next.

    Raises:
        UsageError: That is too short.
        WeightsError: YOLOX-Nano's weights cannot be had, or are none.
        StageError: Something that was measured failed.
    """
    if seconds < LEAST_SECONDS:
        raise UsageError(f"{seconds:g} seconds are too few; expected at least {LEAST_SECONDS:g}")
    tell = progress or (lambda step: None)
    detector = resolve(NETWORK, path=detector_weights).resolve()
    with tempfile.TemporaryDirectory(prefix="streamseg-bench-") as name:
        folder = Path(name)
        segmenter = folder / "mobile_sam.pt"
        from streamseg.bench.seeded_weights import write_seeded_checkpoint

        tell("making seeded weights of MobileSAM")
        write_seeded_checkpoint(segmenter, draw_scene())
        tell("exporting its networks, and measuring it alone")
        alone = _alone(folder, segmenter)
        tell(f"measuring the pipeline for {seconds:g} s")
        run = run_whole(WholeRunOptions(folder, detector, segmenter, seconds))
        shorter = max(LEAST_SECONDS, seconds * _RECORDED_SHARE)
        tell(f"measuring it for {shorter:g} s while it records")
        recorded = run_whole(WholeRunOptions(folder, detector, segmenter, shorter, folder / "recording.mp4"))
    tell("comparing the masks with the truth")
    return _figures(run, alone, _recording(recorded))


def _alone(folder: Path, weights: Path) -> Measured:
    """Time the segmenter on a frame of the scene with the boxes that the pipeline has, after its networks were exported."""
    image = TrueScene().render(0)
    picture, boxes = folder / "picture.npy", folder / "boxes.npy"
    np.save(picture, image)
    found = [detection.xyxy for detection in TrueScene().detections(image)]
    np.save(boxes, np.array(found, np.float32))
    work = Work(
        subject=MOBILE_SAM, weights=str(weights), picture=str(picture), boxes=str(boxes), counts=(), frame_boxes=len(found), threads=1,
        rounds=_ALONE_ROUNDS, budget_s=_ALONE_S,
    )  # fmt: skip
    return measure(
        [sys.executable, "-m", "streamseg.bench.own_process"], work, {"STREAMSEG_CACHE": str(folder)}, folder
    )


def _frames(run: WholeRun) -> list[FrameSeen]:
    scene = TrueScene()
    results = (decode(parts).message for parts in run.messages)
    return [
        frame_seen(result, scene.objects(run.frame_number(result))) for result in results if isinstance(result, Result)
    ]


def _recording(run: WholeRun) -> RecordingFigures:
    ages = [frame.age_ms for frame in _frames(run)]
    return RecordingFigures(seconds=run.seconds, published_fps=len(ages) / run.seconds, frame_age_ms=percentiles(ages))


def _figures(run: WholeRun, alone: Measured, recording: RecordingFigures) -> PipelineFigures:
    frames = _frames(run)
    ious = [iou for frame in frames for iou in frame.ious]
    true_objects = sum(frame.true_objects for frame in frames)
    return PipelineFigures(
        machine=this_machine(),
        seconds=run.seconds,
        frames=len(frames),
        overlays=run.pictures,
        backend=alone.backend,
        precision=alone.precision,
        published_fps=len(frames) / run.seconds,
        frame_age_ms=percentiles([frame.age_ms for frame in frames]),
        same_frame_boxes=sum(frame.own_boxes for frame in frames) / len(frames),
        mask_age_ms=percentiles([age for frame in frames for age in frame.mask_ages_ms]),
        segmented_fps=SegmentedFps(
            in_pipeline=run.keyframes / run.seconds, alone=1000 / statistics.mean(alone.frame_ms)
        ),
        true_objects=true_objects,
        masked_share=len(ious) / true_objects,
        mask_iou=statistics.mean(ious) if ious else None,
        dropped=dropped_between(frames[0].dropped, frames[-1].dropped),
        rss_mb=ends_of(run.rss_mb),
        recording=recording,
    )
