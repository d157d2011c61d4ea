"""The replies of a run to other programs, without processes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from support.stage_context import stage_config
from support.supervisor_bench import Bench

from streamseg.answers import Answers
from streamseg.changes import ChangingPlan
from streamseg.config import MOST_SOURCES, RunSource
from streamseg.ipc.stage_messages import Failed, Finished
from streamseg.wire.limits import REQUEST_ID
from streamseg.wire.requests import (
    ErrorReply,
    Reply,
    Request,
    SnapshotReply,
    SnapshotRequest,
    SourcesReply,
    SourcesRequest,
    decode_reply,
    encode,
)

NAMES = ("first", "second", "third")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A run of three files, two at a time."""
    return run(tmp_path, NAMES)


def run(folder: Path, names: Iterable[str]) -> Bench:
    sources = tuple(RunSource(url="synthetic:?frames=9", name=name) for name in names)
    bench = Bench(folder, msgspec.structs.replace(stage_config(), sources=sources, files_at_once=2))
    bench.start()
    return bench


def reply_to(bench: Bench, request: Request) -> Reply:
    changing = ChangingPlan(bench.plan.config, bench.plan, overwrite=False)
    return decode_reply([Answers(changing, bench.supervisor).reply(encode(request))])


def snapshot(bench: Bench, source: str) -> Reply:
    return reply_to(bench, SnapshotRequest(id="a", source=source))


def refused(message: str) -> ErrorReply:
    return ErrorReply(id="a", error="SourceError", message=message)


def test_a_snapshot_follows_of_a_source_that_runs_and_of_no_other(bench: Bench) -> None:
    assert [snapshot(bench, name) for name in NAMES] == [
        SnapshotReply(id="a"),
        SnapshotReply(id="a"),
        refused("third: it has not started yet, other files run first; try again when one has ended"),
    ]
    bench.stages("voice", "first").say(Finished("first", 8, "end of file"))
    bench.settle()
    assert [snapshot(bench, name) for name in NAMES] == [
        refused("first: it has ended (end of file); choose a source that runs"),
        SnapshotReply(id="a"),
        SnapshotReply(id="a"),
    ]
    bench.stages("eye", "second").say(Failed("SourceError", "the file is cut"))
    bench.stages("eye", "second").die(1)
    bench.settle()
    assert snapshot(bench, "second") == refused("second: it has failed (the file is cut); choose a source that runs")


def test_a_source_that_there_is_not_is_refused(bench: Bench) -> None:
    reply = snapshot(bench, "gate")
    assert isinstance(reply, ErrorReply)
    assert (reply.error, reply.message) == ("UsageError", "gate: no such source; expected one of first, second, third")


def test_a_source_that_was_removed_is_refused_while_its_processes_end(bench: Bench) -> None:
    config = msgspec.structs.replace(bench.plan.config, sources=bench.plan.config.sources[1:])
    bench.supervisor.lanes.change(config)
    assert bench.supervisor.lanes.get("first") is not None
    assert snapshot(bench, "first") == ErrorReply(
        id="a", error="UsageError", message="first: no such source; expected one of second, third"
    )


def test_the_states_of_as_many_sources_as_a_run_takes_fit_into_a_reply(tmp_path: Path) -> None:
    bench = run(tmp_path, [f"{place:064}" for place in range(MOST_SOURCES)])
    for lane in bench.supervisor.lanes:
        lane.state, lane.detail = "disconnected", "\N{VIDEO CAMERA}" * 1000
    reply = reply_to(bench, SourcesRequest(id="a" * REQUEST_ID))
    assert isinstance(reply, SourcesReply)
    assert len(reply.sources) == MOST_SOURCES
