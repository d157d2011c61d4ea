"""A live source of 30 frames a second of which some are analysed."""

from __future__ import annotations

import pytest
from support.leftovers import Place
from support.pipeline_runs import Record, read_records

SECONDS = 4.0
FPS = 5
SOURCE = "synthetic:?size=320x240&fps=30&objects=2"
SMALL = ("--detector", "motion", "--segmenter", "nano", "--set", "publish.bind=tcp://127.0.0.1:*")


def recorded(place: Place, *settings: str) -> list[Record]:
    options = [word for setting in (f"fps={FPS}", *settings) for word in ("--set", setting)]
    with place.run(
        "run", "--source", SOURCE, *SMALL, "--duration", str(SECONDS), "--jsonl", "out.jsonl", *options
    ) as run:
        status, _, errors = run.finish(120)
    assert status == 0, errors
    return read_records(place.folder / "out.jsonl")


def seconds_of(records: list[Record]) -> float:
    return (int(records[-1].pts_ns) - int(records[0].pts_ns)) / 1e9


def test_frames_between_are_published_with_propagated_masks(place: Place) -> None:
    records = recorded(place)
    seconds = seconds_of(records)
    analysed = {record.boxes_seq for record in records} - {None}
    assert len(analysed) <= FPS * seconds + 2
    assert len(analysed) >= 0.6 * FPS * seconds, "of a busy machine"
    assert len(records) >= 3 * len(analysed), "each is published"
    between = [record for record in records if record.boxes_seq != record.seq]
    assert {"propagated", "refined"} & {item.method for record in between for item in record.objects}


def test_frames_between_are_left_out(place: Place) -> None:
    records = recorded(place, "analyse=fps")
    assert len(records) == pytest.approx(FPS * seconds_of(records) + 1, abs=2)
    assert [int(record.seq) for record in records] == list(range(len(records)))
    assert sum(record.boxes_seq == record.seq for record in records) >= 0.6 * len(records)
