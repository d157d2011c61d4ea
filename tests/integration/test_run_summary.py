"""The summary at the end of a run."""

from __future__ import annotations

import re

from support.leftovers import Place
from support.pipeline_runs import until
from support.pseudo_terminal import terminal

FRAMES = 30
RUN = (
    "run", "--source", f"synthetic:?size=320x240&frames={FRAMES}", "--detector", "motion", "--segmenter", "nano",
    "--set", "publish.bind=tcp://127.0.0.1:*",
)  # fmt: skip


def check(summary: dict[str, str]) -> None:
    """Check the summary of a run in which every frame waits for its own boxes and masks."""
    assert re.fullmatch(rf"{FRAMES}, \d+ of them with masks", summary["frames"])
    assert summary["models"] == "motion + nano"
    assert re.fullmatch(r"\d+\.\d%", summary["objects with a mask"])
    rate, keyframes = (float(summary[name].removesuffix(" frames/s")) for name in ("rate", "keyframes segmented"))
    assert rate > 0
    assert keyframes > 0
    assert summary["dropped, restarts, notices"] == "none"
    assert not [name for name in summary if "age, p50" in name or "disconnected" in name or "same frame" in name]
    assert re.fullmatch(r"[1-9]\d+ MB, of the largest process", summary["peak memory"])


def test_without_a_terminal_the_summary_is_one_line_per_figure(place: Place) -> None:
    with place.run(*RUN) as run:
        status, output, errors = run.finish(60)
    assert status == 0, errors
    check(dict(line.split(": ", 1) for line in output.splitlines()))


def test_the_summary_names_what_was_written(place: Place) -> None:
    with place.run(*RUN, "--jsonl", "out.jsonl", "--record", "out.MP4", "--max-frames", "2") as run:
        status, output, errors = run.finish(60)
    assert status == 0, errors
    sizes = {name: (place.folder / name).stat().st_size / 1000 for name in ("out.MP4", "out.jsonl")}
    assert output.splitlines()[-1] == "wrote: " + ", ".join(f"{name} ({size:.1f} kB)" for name, size in sizes.items())


def test_on_a_terminal_the_summary_is_a_table(place: Place) -> None:
    with terminal(place, *RUN) as shown:
        until(lambda: shown.process.poll() is not None, 60, "the end of the run")
    rows = (re.fullmatch(r"│ (.+?) +│ (.+?) *│", line.strip()) for line in shown.text.splitlines())
    check({row[1]: row[2] for row in rows if row})
