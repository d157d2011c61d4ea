"""Prints the figures of `streamseg bench nano` as tables."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.nano_figures import BoxIoU, NanoFigures, SetFigures


def print_nano(figures: NanoFigures) -> None:
    """Print times, then one table for each folder."""
    console = Console()
    times = Table("nano, one thread", "value")
    times.add_row("file", f"{figures.file_bytes / 1e6:.2f} MB")
    times.add_row("load", f"{figures.load_ms:.0f} ms")
    times.add_row("one box", f"{figures.one_box_ms:.1f} ms (GrabCut {figures.grabcut_one_box_ms:.0f} ms)")
    times.add_row("ten boxes", f"{figures.ten_boxes_ms:.1f} ms")
    console.print(times)
    for one in figures.sets:
        _print_set(one, console)


def _print_set(figures: SetFigures, console: Console) -> None:
    table = Table(
        escape(figures.folder), "nano", "nano, boxes 5% off", "GrabCut", "GrabCut, boxes 5% off", title="mean IoU"
    )
    for name, iou in figures.sequences.items():
        table.add_row(escape(name), *_cells(iou))
    table.add_row(f"{figures.pictures} pictures, {figures.objects} objects", *_cells(figures.iou), end_section=True)
    console.print(table)
    sure = figures.confidence
    if sure is not None:
        console.print(
            f"predicted IoU {sure.predicted:.3f}, actual {sure.actual:.3f}; calibration error {sure.calibration_error:.3f}, "
            f"correlation {_cell(sure.correlation)}"
        )
    for prior in figures.priors:
        console.print(
            f"carried over {prior.lag} frames: {prior.prior:.3f}, nano with it {prior.nano:.3f}, without {prior.without:.3f}; "
            f"good ones {_cell(prior.good_prior)}, nano with them {_cell(prior.good_nano)}"
        )


def _cells(iou: BoxIoU) -> tuple[str, ...]:
    return tuple(map(_cell, (iou.nano, iou.nano_jittered, iou.grabcut, iou.grabcut_jittered)))


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"  # noqa: RUF001 - a dash
