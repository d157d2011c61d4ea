"""Measures a running pipeline with many objects: 640x360 at 30 frames a second, true boxes, `nano`, two subscribers."""

from __future__ import annotations

import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from streamseg.bench.crowd_scene import CROWD_BOXES, Crowd
from streamseg.bench.machine import Machine, this_machine
from streamseg.bench.run import Measured, PipelineRun, run_pipeline
from streamseg.bench.steps import StepCost, measure_steps
from streamseg.bench.true_models import FPS
from streamseg.models.options import NANO
from streamseg.monitor.latency import Percentiles, percentiles

_UNCOUNTED_S = 20
"""A run may last so much longer than it is counted before the boxes prepared for it end."""


class MethodFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Published objects by the method of their masks.

    Attributes:
        share: Of all published objects.
        mask_iou: Mean of each mask's largest IoU with a true mask of the same frame; None without masks.
    """

    method: str
    share: float
    mask_iou: float | None


class CrowdFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a pipeline reaches with many objects.

    Attributes:
        objects: Drawn objects; some are hidden.
        seconds: Duration of the count.
        published_fps: Frames published a second.
        objects_per_frame: Published objects of a frame, on average.
        frame_age_ms: From a frame's capture to its publication.
        keyframe_fps: Keyframes segmented a second.
        same_frame_boxes: Share of frames published with boxes detected on that very frame.
        methods: Of the published objects.
        rss_mb: Memory of all processes together at the end, in 10^6 bytes; None without `/proc`.
        steps: What each step costs.
    """

    machine: Machine
    objects: int
    seconds: float
    published_fps: float
    objects_per_frame: float
    frame_age_ms: Percentiles | None
    keyframe_fps: float
    same_frame_boxes: float
    methods: list[MethodFigures]
    rss_mb: float | None
    steps: list[StepCost]


def bench_crowd(objects: int, seconds: float, settings: Sequence[str], report: Callable[[str], None]) -> CrowdFigures:
    """Measure each step alone, and the pipeline.

    Args:
        objects: How many are drawn.
        seconds: How long the pipeline is counted.
        settings: Settings of the pipeline, `KEY=VALUE` each.
        report: Receives a line before each step.

    Raises:
        SettingsError: A setting is invalid.
        StageError: The pipeline did not start, ended too early, or published nothing.
    """
    crowd = Crowd(objects)
    report("timing each step on one thread")
    steps = measure_steps(crowd)
    with tempfile.TemporaryDirectory(prefix="streamseg-bench-") as name:
        folder = Path(name)
        report("computing the boxes of the drawn objects")
        crowd.write_boxes(folder, round((seconds + _UNCOUNTED_S) * FPS))
        report(f"measuring the pipeline for {seconds:g} s")
        every = ("device=cpu", "detector.max_det=1024", *settings)
        run = run_pipeline(folder, every, seconds, measured=Measured(crowd.url, CROWD_BOXES, NANO))
    report("comparing the masks with the truth")
    return crowd_figures(crowd, run, steps)


def crowd_figures(crowd: Crowd, run: PipelineRun, steps: list[StepCost]) -> CrowdFigures:
    """Compare some of the published results with the truth of their frames."""
    counted = Counter(item.method for result in run.results for item in result.objects)
    ious: dict[str, list[float]] = {}
    for result in run.results[::FPS]:
        truth = [item.mask for item in crowd.objects(run.frame_number(result))]
        for item in result.objects:
            if item.mask is not None:
                best = max((item.mask.iou(mask) for mask in truth), default=0.0)
                ious.setdefault(item.method, []).append(best)
    return CrowdFigures(
        machine=this_machine(),
        objects=crowd.options.objects,
        seconds=run.seconds,
        published_fps=len(run.results) / run.seconds,
        objects_per_frame=counted.total() / len(run.results),
        frame_age_ms=percentiles([result.timings.published or 0.0 for result in run.results]),
        keyframe_fps=sum(run.keyframes.values()) / run.seconds,
        same_frame_boxes=statistics.mean(result.boxes_seq == result.seq for result in run.results),
        methods=[
            MethodFigures(
                method=method,
                share=count / counted.total(),
                mask_iou=statistics.mean(ious[method]) if method in ious else None,
            )
            for method, count in counted.most_common()
        ],
        rss_mb=run.rss_mb[-1] if run.rss_mb else None,
        steps=steps,
    )


def print_crowd(figures: CrowdFigures) -> None:
    """Print the figures as two tables."""
    ages, machine, console = figures.frame_age_ms, figures.machine, Console()
    table = Table(f"{figures.objects} objects, {figures.seconds:.0f} s of 640x360 at {FPS} frames/s", "value")
    table.add_row("published", f"{figures.published_fps:.1f} frames/s")
    table.add_row("objects per frame", f"{figures.objects_per_frame:.1f}")
    table.add_row("frame age, p50 / p99", "none" if ages is None else f"{ages.p50:,.0f} / {ages.p99:,.0f} ms")
    table.add_row("segmented", f"{figures.keyframe_fps:.1f} keyframes/s")
    table.add_row("frames with boxes of their own", f"{figures.same_frame_boxes:.1%}")
    for each in figures.methods:
        fit = "" if each.mask_iou is None else f", mean IoU {each.mask_iou:.3f}"
        table.add_row(f"method {each.method}", f"{each.share:.1%} of the objects{fit}")
    if figures.rss_mb is not None:
        table.add_row("memory of all processes", f"{figures.rss_mb:,.0f} MB")
    console.print(table)
    steps = Table("stage", "step", "ms a frame", "µs an object")
    for step in figures.steps:
        steps.add_row(step.stage, step.step, f"{step.frame_ms:.2f}", f"{step.object_us:.0f}")
    console.print(steps)
    console.print(f"{machine.cpu}, {machine.cores} cores, {machine.system}; steps on one thread, in processor time")
