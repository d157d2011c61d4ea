from __future__ import annotations

import pytest
from support.stage_context import stage_config

from streamseg.pipeline import LINKS, STAGES, processes_of
from streamseg.topology import TAP, Topology

TABLE = Topology(STAGES, LINKS)


def test_every_link_begins_at_a_stage_and_ends_at_one_or_at_the_loop_over_a_pipeline() -> None:
    names = {entry.name for entry in STAGES}
    assert {link.sender for link in LINKS} <= names
    assert {link.receiver for link in LINKS} <= names | {TAP}
    assert len({(link.sender, link.receiver) for link in LINKS}) == len(LINKS)


@pytest.mark.parametrize(
    ("stage", "upstream"),
    [("capture", []), ("detect", ["capture"]), ("publish", ["segment", "detect", "capture"])],
)
def test_upstream_are_all_stages_whose_messages_reach_it(stage: str, upstream: list[str]) -> None:
    assert [entry.name for entry in TABLE.upstream(stage)] == upstream


def test_frames_arrive_in_order_unless_the_newest_wins() -> None:
    by_mode = {(link.sender, link.receiver) for link in LINKS if link.resolve_policy(live=False) == "ordered"}
    live = {(link.sender, link.receiver) for link in LINKS if link.resolve_policy(live=True) == "ordered"}
    assert by_mode - live == {("capture", "detect"), ("capture", "publish"), ("detect", "segment")} | (
        {("publish", "record")} & by_mode
    )


def test_shared_stages_run_once_and_the_others_once_per_source() -> None:
    config = stage_config(sources=[{"url": "a.mp4", "name": "door"}, {"url": "b.mp4", "name": "yard"}])
    keys = processes_of(config)
    assert [(key.stage, key.source) for key in keys] == [
        ("capture", "door"),
        ("capture", "yard"),
        ("detect", None),
        ("segment", None),
        ("publish", "door"),
        ("publish", "yard"),
        ("hub", None),
    ]
