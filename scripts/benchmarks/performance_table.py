"""Rewrites the performance table of the README from the figures of one run.

streamseg bench models --json > figures.json
python scripts/performance_table.py figures.json [README.md]
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from benchmarks.model_figures import ComparedFigures, ModelsFigures
from benchmarks.model_rows import agreements, conditions, milliseconds, own_threads, ratios, rows

BEGIN = "<!-- performance: written by scripts/performance_table.py -->"
END = "<!-- end of performance -->"
_NOTHING = "\N{EN DASH}"
_README = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


def table(figures: ModelsFigures) -> str:
    """The table in Markdown, and a paragraph that says of what it is."""
    picture = figures.picture.replace("x", "\N{MULTIPLICATION SIGN}")
    headings = (
        f"milliseconds, {picture}",
        "original",
        "Ultralytics",
        "here",
        "as fast",
        "here, AVX2 only",
        "as fast, AVX2 only",
    )
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for row in rows(figures):
        times = (milliseconds(value) for value in (row.original, row.ultralytics, row.ours))
        cells = (row.label, *times, ratios(row.speedups), milliseconds(row.avx2), ratios(row.avx2_speedups))
        lines.append(f"| {' | '.join(cell or _NOTHING for cell in cells)} |")
    lines += [
        "",
        f"Measured {conditions(figures)}. Ratios are to the original, then to Ultralytics; {agreements(figures)}.",
    ]
    if figures.ultralytics_own_threads is not None:
        lines.append(own_threads(figures))
    others = [_compared(one) for one in figures.compared if one.skipped is None]
    if others:
        lines.append(f"A frame with 5 boxes by other models, random weights: {'; '.join(others)}.")
    return "\n".join(lines)


def replaced(text: str, content: str) -> str:
    """The text with `content` between its two markers.

    Raises:
        ValueError: It has not exactly one of each, in that order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise ValueError(f"expected one line {BEGIN} and below it one line {END}")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{content}\n{END}{rest.split(END)[1]}"


def main(source: Path, target: Path = _README) -> None:
    """Put the figures of one file into another."""
    figures = msgspec.json.decode(source.read_bytes(), type=ModelsFigures)
    target.write_text(replaced(target.read_text("utf-8"), table(figures)), "utf-8")


def _compared(one: ComparedFigures) -> str:
    return f"{one.model} {milliseconds(one.frame_ms)} ms"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
