"""Prints the figures of `streamseg bench pipeline` as a table."""

from __future__ import annotations

import msgspec
from rich.console import Console
from rich.table import Table

from streamseg.bench.pipeline_figures import Percentiles, PipelineFigures


def print_pipeline(figures: PipelineFigures) -> None:
    """Print one row for each thing that was measured, and of what it is."""
    segmented, recording = figures.segmented_fps, figures.recording
    table = Table(f"{figures.seconds:.0f} s of 1280x720 at 30 frames/s", "value")
    table.add_row("published", f"{figures.published_fps:.1f} frames/s")
    table.add_row("frame age, p50 / p99", _milliseconds(figures.frame_age_ms))
    table.add_row("frames with boxes of their own", f"{figures.same_frame_boxes:.1%}")
    table.add_row("segmented", f"{segmented.in_pipeline:.2f} keyframes/s ({segmented.alone:.2f} alone on one thread)")
    table.add_row("mask age, p50 / p99", _milliseconds(figures.mask_age_ms))
    table.add_row("objects with a mask", f"{figures.masked_share:.1%} of {figures.true_objects}")
    table.add_row("mean IoU of the masks", "none" if figures.mask_iou is None else f"{figures.mask_iou:.3f}")
    lost = [f"{name} {count}" for name, count in msgspec.structs.asdict(figures.dropped).items() if count]
    table.add_row("dropped", ", ".join(lost) or "nothing")
    table.add_row("memory, begin / end", _memory(figures))
    table.add_row("published while recording", f"{recording.published_fps:.1f} frames/s")
    table.add_row("frame age while recording, p50 / p99", _milliseconds(recording.frame_age_ms))
    console = Console()
    console.print(table)
    machine = figures.machine
    console.print(
        f"{machine.cpu}, {machine.cores} cores, {machine.system}; MobileSAM by {figures.backend} in {figures.precision}"
    )


def _milliseconds(figures: Percentiles) -> str:
    if figures.p50 is None or figures.p99 is None:
        return "none"
    return f"{figures.p50:,.0f} / {figures.p99:,.0f} ms"


def _memory(figures: PipelineFigures) -> str:
    start, end = figures.rss_mb.start, figures.rss_mb.end
    return "unknown" if start is None or end is None else f"{start:,.0f} / {end:,.0f} MB"
