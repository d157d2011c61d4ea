from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from rich.console import Console
from support.results import EMPTY_RESULT

from streamseg.masks import Mask
from streamseg.messages import Detection, Dropped, TrackedObject
from streamseg.monitor.latency import Percentiles
from streamseg.monitor.stream import TIMING_POINTS, StreamFigures
from streamseg.monitor.table import draw


def figures() -> StreamFigures:
    cup = Detection(xyxy=(0.0, 0.0, 4.0, 3.0), confidence=1.0, class_id=0, class_name="cup", tracker_id=2)
    newest = replace(
        EMPTY_RESULT,
        seq=41,
        width=16,
        height=12,
        dropped=Dropped(segment_replaced=7),
        boxes_seq=41,
        objects=(
            TrackedObject(detection=cup, mask=Mask(0, 0, np.ones((3, 4), np.bool_)), method="segmented"),
            TrackedObject(
                detection=Detection(xyxy=(1.0, 1.0, 2.0, 2.0), confidence=1.0, class_id=1, class_name="red \x1b[31m\n")
            ),
        ),
    )
    return StreamFigures(
        source="cam",
        newest=newest,
        received=40,
        missed=2,
        rate=29.97,
        methods=(("propagated", 3), ("segmented", 1)),
        mask_age_ms=Percentiles(33.3, 120.0),
        own_boxes=0.875,
        timings_ms=tuple(
            Percentiles(place + 0.5, place + 1.0) if place < 2 else None for place, _ in enumerate(TIMING_POINTS)
        ),
    )


def lines(*columns: StreamFigures) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=160).print(draw(columns, "tcp://there:5555"))
    return [" ".join(line.replace("│", " ").split()) for line in output.getvalue().splitlines()]


def test_every_figure_has_its_row() -> None:
    text = lines(figures())
    assert text[0] == "tcp://there:5555, last 10 s, p50 / p99"
    for row in (
        "frames 40, 30.0 a second",
        "missed 2",
        "objects 2 in frame 41",
        "masks 3 propagated, 1 segmented",
        "mask age 33.3 / 120.0 ms",
        "boxes of the same frame 87.5%",
        "received after 0.5 / 1.0 ms",
        "detected after 1.5 / 2.0 ms",
        "published after -",
        "dropped segment_replaced 7",
    ):
        assert row in text


def test_control_characters_in_names_do_not_reach_the_terminal() -> None:
    assert "newest cup#2 12, red \\x1b[31m pending" in lines(figures())


def test_every_source_has_a_column() -> None:
    text = lines(figures(), replace(figures(), source="door", missed=0))
    assert "source ┃ cam ┃ door" in " ".join(text)
    assert "missed 2 0" in text
