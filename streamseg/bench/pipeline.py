"""Measures a whole running pipeline: 1280x720 at 30 frames a second, both networks in full, two subscribers."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from streamseg.bench.machine import Machine, this_machine
from streamseg.bench.run import PipelineRun, run_pipeline
from streamseg.bench.true_models import FPS, SCENE_URL, TrueScene, detector_settings, match
from streamseg.config_file import load_config, parse_override
from streamseg.errors import StageError
from streamseg.messages import Dropped
from streamseg.models.options import MOBILE_SAM, SegmenterSettings
from streamseg.monitor.latency import Percentiles, percentiles

LEAST_IOU = 0.3
"""A published mask belongs to no object when its IoU with every true mask is less."""
_RECORDED_SHARE, _LEAST_RECORDED_S = 1 / 3, 2.0
"""Duration of the run with a recording, as a share of the run without, and at least."""
_ALONE_FRAMES, _ALONE_S = 30, 20.0
"""The segmenter alone is timed on so many frames, or for so long."""
_UNCOUNTED_S = 20
"""A run may last so much longer than it is counted before the boxes prepared for it end."""
_AVERAGED_S = 10
"""Memory at the start and at the end is the mean of so many seconds."""


class SegmentedFps(msgspec.Struct, frozen=True, kw_only=True):
    """Keyframes a second: segmented by the pipeline, and by the same segmenter alone on one thread."""

    in_pipeline: float
    alone: float


class MemoryFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of all processes together at both ends of the count, in 10^6 bytes; None without `/proc`."""

    start: float | None
    end: float | None


class RecordingFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The pipeline while it records the overlay as MP4, in a shorter run of its own."""

    seconds: float
    published_fps: float
    frame_age_ms: Percentiles | None


class PipelineFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a pipeline reaches.

    Attributes:
        seconds: Duration of the count.
        overlays: Drawn pictures that reached their subscriber.
        backend: Library that ran MobileSAM.
        precision: Number format of its encoder.
        published_fps: Frames published a second.
        frame_age_ms: From a frame's capture to its publication.
        same_frame_boxes: Share of frames published with boxes detected on that very frame.
        mask_age_ms: From the keyframe of a published mask to the frame it is published with; None without masks.
        segmented_fps: Keyframes segmented a second.
        true_objects: Objects visible in the published frames, added up.
        masked_share: Share of them with a published mask.
        mask_iou: Mean IoU of those masks with the true ones of the same frame; None without masks.
        dropped: Frames lost during the count, by cause.
        recording: The same with a recording.
    """

    machine: Machine
    seconds: float
    frames: int
    overlays: int
    backend: str
    precision: str
    published_fps: float
    frame_age_ms: Percentiles | None
    same_frame_boxes: float
    mask_age_ms: Percentiles | None
    segmented_fps: SegmentedFps
    true_objects: int
    masked_share: float
    mask_iou: float | None
    dropped: Dropped
    rss_mb: MemoryFigures
    recording: RecordingFigures


@dataclass(frozen=True, slots=True)
class SegmenterAlone:
    """MobileSAM in a process of its own: seconds a frame with all its boxes, and the runtime."""

    frame_s: float
    backend: str
    precision: str


def bench_pipeline(
    seconds: float, settings: Sequence[str], detector_weights: Path | None, report: Callable[[str], None]
) -> PipelineFigures:
    """Measure the segmenter alone, the pipeline, and the pipeline while it records.

    Args:
        seconds: How long the pipeline is counted.
        settings: Settings of the pipeline, `KEY=VALUE` each.
        detector_weights: A YOLOX export in place of spot.
        report: Receives a line before each step.

    Raises:
        SettingsError: A setting is invalid.
        WeightsError: The weights are missing or invalid.
        StageError: A measured process failed.
    """
    overrides = [("sources.0.url", SCENE_URL), *map(parse_override, settings)]
    segmenter = load_config(None, overrides, os.environ).segmenter
    detector = detector_settings(detector_weights)
    with tempfile.TemporaryDirectory(prefix="streamseg-bench-") as name:
        folder = Path(name)
        weights = folder / "mobile_sam.pt"
        report("exporting MobileSAM with random weights, and timing it alone")
        alone = _time_alone(folder, weights, segmenter, min(_ALONE_S, seconds))
        TrueScene().write(folder, round((seconds + _UNCOUNTED_S) * FPS))
        every = ("device=cpu", *detector, f"segmenter.weights={weights}", *settings)
        report(f"measuring the pipeline for {seconds:g} s")
        run = run_pipeline(folder, every, seconds)
        shorter = max(_LEAST_RECORDED_S, seconds * _RECORDED_SHARE)
        report(f"measuring it for {shorter:g} s while it records")
        recorded = run_pipeline(folder, every, shorter, folder / "recording.mp4")
    report("comparing the masks with the truth")
    return figures_of(run, recorded, alone)


def _time_alone(folder: Path, weights: Path, settings: SegmenterSettings, seconds: float) -> SegmenterAlone:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        try:
            return process.submit(_time_segmenter, folder, weights, settings, seconds).result()
        except BrokenProcessPool as error:
            raise StageError(f"timing MobileSAM failed: {error}; check that the machine has enough memory") from error


def _time_segmenter(folder: Path, weights: Path, settings: SegmenterSettings, seconds: float) -> SegmenterAlone:
    """Write random weights, export their networks into the cache in `folder`, and time the segmenter on one thread."""
    os.environ |= {"STREAMSEG_CACHE": str(folder), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    from streamseg.models.options import Compute
    from streamseg.models.segmenters.mobile_sam.segmenter import MobileSam

    write_random_weights(weights)
    segmenter = MobileSam(weights, settings, Compute(device="cpu", threads=1))
    scene = TrueScene()
    image = scene.render(0)
    detections = scene.detections_in(image)
    segmenter.decode(segmenter.encode(image), detections)
    times: list[float] = []
    while len(times) < _ALONE_FRAMES and (len(times) < 2 or sum(times) < seconds):
        start = time.perf_counter()
        segmenter.decode(segmenter.encode(image), detections)
        times.append(time.perf_counter() - start)
    return SegmenterAlone(statistics.mean(times), segmenter.backend, segmenter.precision)


def write_random_weights(path: Path) -> None:
    """Save a checkpoint of MobileSAM in the official format; random weights take as long as trained ones."""
    import torch

    from streamseg.models.segmenters.sam import SamNetwork
    from streamseg.models.segmenters.sam.checkpoint import official_name

    torch.manual_seed(0)
    state = SamNetwork(MOBILE_SAM).state_dict()
    torch.save({official_name(name): tensor for name, tensor in state.items()}, path)


def figures_of(run: PipelineRun, recorded: PipelineRun, alone: SegmenterAlone) -> PipelineFigures:
    """Compare the published results with the truth of their frames."""
    scene = TrueScene()
    true_objects = 0
    ious: list[float] = []
    mask_ages_ms: list[float] = []
    for result in run.results:
        truth = scene.objects(run.frame_number(result))
        true_objects += len(truth)
        mask_ages_ms += [item.age_ms for item in result.objects if item.mask is not None]
        masks = [item.mask for item in result.objects if item.mask is not None]
        ious += [iou for iou, _, _ in match([[mask.iou(item.mask) for item in truth] for mask in masks], LEAST_IOU)]
    first, last = run.results[0].dropped, run.results[-1].dropped
    return PipelineFigures(
        machine=this_machine(),
        seconds=run.seconds,
        frames=len(run.results),
        overlays=run.pictures,
        backend=alone.backend,
        precision=alone.precision,
        published_fps=len(run.results) / run.seconds,
        frame_age_ms=_frame_ages_ms(run),
        same_frame_boxes=statistics.mean(result.boxes_seq == result.seq for result in run.results),
        mask_age_ms=percentiles(mask_ages_ms),
        segmented_fps=SegmentedFps(in_pipeline=sum(run.keyframes.values()) / run.seconds, alone=1 / alone.frame_s),
        true_objects=true_objects,
        masked_share=len(ious) / true_objects,
        mask_iou=statistics.mean(ious) if ious else None,
        dropped=Dropped(**{name: getattr(last, name) - getattr(first, name) for name in Dropped.__struct_fields__}),
        rss_mb=MemoryFigures(start=_mean(run.rss_mb[:_AVERAGED_S]), end=_mean(run.rss_mb[-_AVERAGED_S:])),
        recording=RecordingFigures(
            seconds=recorded.seconds,
            published_fps=len(recorded.results) / recorded.seconds,
            frame_age_ms=_frame_ages_ms(recorded),
        ),
    )


def _frame_ages_ms(run: PipelineRun) -> Percentiles | None:
    return percentiles([result.timings.published or 0.0 for result in run.results])


def _mean(values: Sequence[float]) -> float | None:
    return statistics.mean(values) if values else None


def print_pipeline(figures: PipelineFigures) -> None:
    """Print the figures as a table."""
    segmented, recording, rss = figures.segmented_fps, figures.recording, figures.rss_mb
    drops = [f"{name} {count}" for name, count in msgspec.structs.asdict(figures.dropped).items() if count]
    table = Table(f"{figures.seconds:.0f} s of 1280x720 at 30 frames/s", "value")
    table.add_row("published", f"{figures.published_fps:.1f} frames/s")
    table.add_row("frame age, p50 / p99", _milliseconds(figures.frame_age_ms))
    table.add_row("frames with boxes of their own", f"{figures.same_frame_boxes:.1%}")
    table.add_row("segmented", f"{segmented.in_pipeline:.2f} keyframes/s ({segmented.alone:.2f} alone on one thread)")
    table.add_row("mask age, p50 / p99", _milliseconds(figures.mask_age_ms))
    table.add_row("objects with a mask", f"{figures.masked_share:.1%} of {figures.true_objects}")
    table.add_row("mean IoU of the masks", "none" if figures.mask_iou is None else f"{figures.mask_iou:.3f}")
    table.add_row("dropped", ", ".join(drops) or "nothing")
    if rss.start is not None and rss.end is not None:
        table.add_row("memory, start / end", f"{rss.start:,.0f} / {rss.end:,.0f} MB")
    table.add_row("published while recording", f"{recording.published_fps:.1f} frames/s")
    table.add_row("frame age while recording, p50 / p99", _milliseconds(recording.frame_age_ms))
    machine, console = figures.machine, Console()
    console.print(table)
    console.print(
        f"{machine.cpu}, {machine.cores} cores, {machine.system}; MobileSAM by {figures.backend} in {figures.precision}"
    )


def _milliseconds(ages: Percentiles | None) -> str:
    return "none" if ages is None else f"{ages.p50:,.0f} / {ages.p99:,.0f} ms"
