"""Prints the figures of `streamseg bench propagate` as tables."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.propagate_figures import CarriedIoU, FootageFigures, LagFigures, PropagateFigures


def print_propagate(figures: PropagateFigures) -> None:
    """Print times, then one table for each folder, and one for the scenes."""
    console = Console()
    times = Table("one core, five masks of 200x300", "ms a frame of 1280x720")
    for name, ms in msgspec.structs.asdict(figures.ms_per_frame).items():
        times.add_row(name, f"{ms:.1f}")
    console.print(times)
    for one in (*figures.folders, figures.scenes):
        _print_footage(one, console)
    console.print(
        "frozen: masks left in place; flow: plain dense flow; box: moved and scaled with the box; ours: as the pipeline does; "
        "ours_refined: the same, with the small segmenter; a lost mask counts as 0"
    )


def _print_footage(figures: FootageFigures, console: Console) -> None:
    table = Table(
        escape(figures.of),
        "frames on",
        "masks",
        *CarriedIoU.__struct_fields__,
        title=f"mean IoU, from every {figures.keyframe_interval}th frame on",
    )
    for name, lags in figures.parts.items():
        _add(table, escape(name), lags)
    _add(table, "mean", figures.mean)
    console.print(table)
    sure = figures.calibration
    if sure is not None:
        console.print(f"ours_refined: predicted IoU {sure.predicted:.3f}, actual {sure.actual:.3f}")


def _add(table: Table, name: str, lags: Sequence[LagFigures]) -> None:
    for place, one in enumerate(lags):
        cells = [f"{iou:.3f}" for iou in msgspec.structs.astuple(one.iou)]
        table.add_row("" if place else name, str(one.lag), str(one.masks), *cells, end_section=place == len(lags) - 1)
