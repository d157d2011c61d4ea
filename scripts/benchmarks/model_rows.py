"""The rows that people are shown of the figures of `streamseg bench models`."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.model_figures import ComparedFigures, ModelsFigures


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that all do; medians in milliseconds, None where one does not do it or was not measured.

    Attributes:
        label: What it is.
        original: By the original.
        ultralytics: By Ultralytics' `SAM`.
        ours: By ours.
        speedups: How many times as fast ours is as the original, and as Ultralytics, as far as they were measured.
        avx2: By ours held to AVX2.
        avx2_speedups: As `speedups`, with all held to AVX2.
    """

    label: str
    original: float | None
    ultralytics: float | None
    ours: float | None
    speedups: tuple[float | None, ...]
    avx2: float | None
    avx2_speedups: tuple[float | None, ...]


def rows(figures: ModelsFigures) -> list[Row]:
    """The encoder, the decoder and a whole frame."""
    free, held = figures.speedup, figures.avx2.speedup
    encoder, decoder, frame = figures.encoder_ms, figures.decoder_ms, figures.frame_ms
    slow_encoder, slow_decoder, slow_frame = figures.avx2.encoder_ms, figures.avx2.decoder_ms, figures.avx2.frame_ms
    one, five, twenty = decoder.one, decoder.five, decoder.twenty
    return [
        Row("encoder, square input", encoder.original, None, encoder.ours, (free.encoder,), slow_encoder.ours, (held.encoder,)),
        Row(
            "encoder, the picture's part of it",
            encoder.original, None, encoder.ours_rect, (free.encoder_rect,), slow_encoder.ours_rect, (held.encoder_rect,),
        ),
        Row("decoder, 1 box", one.original, None, one.ours, (free.decoder_1,), slow_decoder.one.ours, (held.decoder_1,)),
        Row("decoder, 5 boxes", five.original, None, five.ours, (free.decoder_5,), slow_decoder.five.ours, (held.decoder_5,)),
        Row("decoder, 20 boxes", twenty.original, None, twenty.ours, (free.decoder_20,), slow_decoder.twenty.ours, (held.decoder_20,)),
        Row(
            "frame with 5 boxes",
            frame.original, frame.ultralytics, frame.ours, (free.frame, free.frame_ultralytics),
            slow_frame.ours, (held.frame, held.frame_ultralytics),
        ),
    ]  # fmt: skip


def milliseconds(value: float | None) -> str:
    """For a table: three digits at least, nothing where nothing was measured."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def ratios(values: tuple[float | None, ...]) -> str:
    """For a table: `11.2x, 12.4x`."""
    return ", ".join(f"{value:.1f}\N{MULTIPLICATION SIGN}" for value in values if value is not None)


def conditions(figures: ModelsFigures) -> str:
    """One sentence: where, when and of what the figures are."""
    machine = figures.machine
    memory = "" if machine.memory_gb is None else f", {machine.memory_gb:.0f} GB"
    rounds = f"medians of {figures.rounds.ours} rounds ({figures.rounds.original} of the original)"
    backends = f"ours by {figures.backend} in {figures.precision}, held to AVX2 by {figures.avx2.backend} in {figures.avx2.precision}"
    where = f"{machine.cpu}, {machine.cores} cores{memory}, {machine.system}"
    return f"{figures.date}, {where}; {figures.threads} threads, {figures.weights} weights, {rounds}; {backends}"


def agreements(figures: ModelsFigures) -> str:
    """One sentence: how alike the masks are."""
    named = (
        ("with the original's", figures.iou.original),
        ("with Ultralytics'", figures.iou.ultralytics),
        ("of those two with each other", figures.iou.original_ultralytics),
    )
    known = [
        f"{agreement.mean:.4f} {name} (least {agreement.min:.4f})" for name, agreement in named if agreement is not None
    ]
    return f"mean IoU of the masks: {', '.join(known) if known else 'not measured'}"


def own_threads(figures: ModelsFigures) -> str:
    """One sentence: what Ultralytics' users have; empty where it was not measured."""
    own = figures.ultralytics_own_threads
    if own is None:
        return ""
    compared = f"{milliseconds(own.frame_ms)} ms a frame, {ratios((own.speedup,))}"
    return f"Left to itself, Ultralytics uses {own.threads} of {figures.threads} threads: {compared}."


def print_tables(figures: ModelsFigures, console: Console) -> None:
    """Show everything on a terminal, but for the parameters."""
    console.print(_speeds(figures))
    ours = figures.segmenter
    memory = "" if ours.rss_mb is None else f", {ours.rss_mb:,.0f} MB of memory"
    ready = f"ready in {ours.load_ms:,.0f} ms, the first time {ours.export_s:.0f} s more"
    console.print(f"ours: {ready}; first frame {ours.first_result_ms:,.0f} ms{memory}")
    if figures.detector is not None:
        console.print(f"YOLOX-Nano on one thread: {figures.detector.frame_ms:.1f} ms a frame")
    if figures.ultralytics_own_threads is not None:
        console.print(own_threads(figures))
    for reason in figures.missing:
        console.print(f"not measured: {reason}", markup=False)
    if figures.compared:
        console.print(_compared(figures.compared))


def _speeds(figures: ModelsFigures) -> Table:
    table = Table(
        title=f"Milliseconds, {figures.picture}",
        caption=f"{conditions(figures)}; {agreements(figures)}. Ratios: to the original, to Ultralytics.",
        caption_justify="left",
    )
    table.add_column("what", no_wrap=True)
    for heading in ("original", "Ultralytics", "ours", "as fast", "ours, AVX2", "as fast, AVX2"):
        table.add_column(heading, justify="right")
    for row in rows(figures):
        times = map(milliseconds, (row.original, row.ultralytics, row.ours))
        table.add_row(row.label, *times, ratios(row.speedups), milliseconds(row.avx2), ratios(row.avx2_speedups))
    return table


def _compared(compared: tuple[ComparedFigures, ...]) -> Table:
    skipped = [f"{one.model} was left out: {one.skipped}" for one in compared if one.skipped is not None]
    table = Table(
        title="Other models with random weights, milliseconds",
        caption="\n".join(skipped) or None,
        caption_justify="left",
    )
    table.add_column("model", no_wrap=True)
    for heading in ("encoder", "decoder, 1 box", "decoder, 5 boxes", "frame with 5 boxes"):
        table.add_column(heading, justify="right")
    for one in compared:
        if one.skipped is None:
            table.add_row(
                one.model, *map(milliseconds, (one.encoder_ms, one.decoder_1_ms, one.decoder_5_ms, one.frame_ms))
            )
    return table
