"""Shows the figures of the benchmark `models` as Markdown, and keeps the table in `docs/performance.md` up to date."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console

from benchmarks.model_figures import DecoderMs, ModelsFigures
from streamseg.errors import UsageError
from streamseg.sam.info import as_rich_table, parameter_table

BEGIN = "<!-- performance: written by `./scripts/bench table` -->"
END = "<!-- end of performance -->"
_NOTHING = "\N{EN DASH}"
_DECODER_ROWS = (("1 box", "one", "decoder_1"), ("5 boxes", "five", "decoder_5"), ("20 boxes", "twenty", "decoder_20"))


def markdown(figures: ModelsFigures) -> str:
    """Write a table of speed and a paragraph about its conditions."""
    picture = figures.picture.replace("x", "\N{MULTIPLICATION SIGN}")
    headings = ("original", "Ultralytics", "here", "speed-up", "here, AVX2 only", "speed-up, AVX2 only")
    lines = [f"| milliseconds, {picture} | {' | '.join(headings)} |", "|---" * (len(headings) + 1) + "|"]
    lines += [f"| {' | '.join(cell or _NOTHING for cell in row)} |" for row in _rows(figures)]
    lines += [
        "",
        f"Measured {_conditions(figures)}. Speed-ups: over the original, over Ultralytics. {_agreement(figures)}.",
    ]
    own = figures.ultralytics_own_threads
    if own is not None:
        speedup = _ratios(own.speedup)
        lines.append(
            f"With its own setting, Ultralytics uses {own.threads} of {figures.threads} threads: "
            f"{_milliseconds(own.frame_ms)} ms a frame, {speedup}."
        )
    others = [f"{one.model} {_milliseconds(one.frame_ms)} ms" for one in figures.compared if one.skipped is None]
    if others:
        lines.append(f"A frame with 5 boxes by other models, random weights: {'; '.join(others)}.")
    return "\n".join(lines)


def _rows(figures: ModelsFigures) -> list[tuple[str, ...]]:
    limited = figures.avx2
    encoder, frame, speedup, limited_speedup = figures.encoder_ms, figures.frame_ms, figures.speedup, limited.speedup
    rows: list[tuple[str, ...]] = [
        (
            "encoder, square input", _milliseconds(encoder.original), "", _milliseconds(encoder.ours),
            _ratios(speedup.encoder), _milliseconds(limited.encoder_ms.ours), _ratios(limited_speedup.encoder),
        ),
        (
            "encoder, the picture's part of it", _milliseconds(encoder.original), "", _milliseconds(encoder.ours_rect),
            _ratios(speedup.encoder_rect), _milliseconds(limited.encoder_ms.ours_rect),
            _ratios(limited_speedup.encoder_rect),
        ),
    ]  # fmt: skip
    for label, field, ratio in _DECODER_ROWS:
        free: DecoderMs = getattr(figures.decoder_ms, field)
        held: DecoderMs = getattr(limited.decoder_ms, field)
        rows.append((
            f"decoder, {label}", _milliseconds(free.original), "", _milliseconds(free.ours),
            _ratios(getattr(speedup, ratio)), _milliseconds(held.ours), _ratios(getattr(limited_speedup, ratio)),
        ))  # fmt: skip
    rows.append((
        "frame with 5 boxes", _milliseconds(frame.original), _milliseconds(frame.ultralytics),
        _milliseconds(frame.ours), _ratios(speedup.frame, speedup.frame_ultralytics),
        _milliseconds(limited.frame_ms.ours), _ratios(limited_speedup.frame, limited_speedup.frame_ultralytics),
    ))  # fmt: skip
    return rows


def _milliseconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _ratios(*values: float | None) -> str:
    return ", ".join(f"{value:.1f}\N{MULTIPLICATION SIGN}" for value in values if value is not None)


def _conditions(figures: ModelsFigures) -> str:
    machine, rounds, limited = figures.machine, figures.rounds, figures.avx2
    memory = "" if machine.memory_gb is None else f", {machine.memory_gb:.0f} GB"
    return (
        f"{figures.date}, {machine.cpu}, {machine.cores} cores{memory}, {machine.system}; {figures.threads} threads, "
        f"{figures.weights} weights, medians of {rounds.ours} rounds ({rounds.original} of the original); "
        f"here {figures.backend} in {figures.precision}, limited to AVX2 {limited.backend} in {limited.precision}"
    )


def _agreement(figures: ModelsFigures) -> str:
    pairs = (
        ("with the original", figures.iou.original),
        ("with Ultralytics", figures.iou.ultralytics),
        ("between those two", figures.iou.original_ultralytics),
    )
    known = [f"{each.mean:.4f} {name} (least {each.min:.4f})" for name, each in pairs if each is not None]
    return f"Mean IoU of the masks: {', '.join(known) if known else 'not measured'}"


def print_models(figures: ModelsFigures) -> None:
    """Print the parameters, the table, start-up and memory, the detector, and what is missing."""
    ours = figures.segmenter
    memory = "" if ours.rss_mb is None else f", {ours.rss_mb:,.0f} MB of memory"
    lines = [
        markdown(figures),
        f"Loading takes {ours.load_ms:,.0f} ms, the first time {ours.export_s:.0f} s more; "
        f"the first frame {ours.first_result_ms:,.0f} ms{memory}.",
    ]
    if figures.detector is not None:
        lines.append(f"YOLOX-Nano on one thread: {figures.detector.frame_ms:.1f} ms a frame.")
    lines += [f"{one.model} was left out: {one.skipped}" for one in figures.compared if one.skipped is not None]
    lines += [f"Not measured: {reason}" for reason in figures.missing]
    console = Console()
    console.print(as_rich_table(parameter_table()))
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def update_document(figures_file: Path, document: Path) -> None:
    """Replace the text between the two markers of a document by the table of a file of figures.

    Raises:
        UsageError: A file cannot be read, or the document lacks exactly one of each marker, in order.
    """
    try:
        figures = msgspec.json.decode(figures_file.read_bytes(), type=ModelsFigures)
        text = document.read_text("utf-8")
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(
            f"the table cannot be updated: {error}; give figures of `./scripts/bench models --json`"
        ) from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise UsageError(f"{document}: expected one line {BEGIN} and below it one line {END}")
    before, rest = text.split(BEGIN)
    document.write_text(f"{before}{BEGIN}\n{markdown(figures)}\n{END}{rest.split(END)[1]}", "utf-8")
