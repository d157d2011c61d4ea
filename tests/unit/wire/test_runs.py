from __future__ import annotations

from dataclasses import replace

import pytest
from support.results import EMPTY_RESULT

from streamseg.messages import End, Heartbeat, ResultMessage, SourceState
from streamseg.wire.runs import Runs


def result(seq: int, run_id: str = "a") -> ResultMessage:
    return replace(EMPTY_RESULT, run_id=run_id, seq=seq, source="cam")


def heartbeat(seq: int | None, run_id: str = "a") -> Heartbeat:
    return Heartbeat(run_id=run_id, source="cam", seq=seq, t_unix_ns=1)


def beat(state: str) -> Heartbeat:
    return Heartbeat(run_id="a", source="cam", seq=1, t_unix_ns=1, state=state)


def gap(runs: Runs, seq: int, run_id: str = "a") -> int | None:
    """The gap before a result; None if it is a repeat."""
    message = runs.follow(result(seq, run_id))
    return message.gap if isinstance(message, ResultMessage) else None


@pytest.mark.parametrize(("before", "first_gap"), [(None, 5), (3, 1), (4, 0), (9, 0)])
def test_the_first_result_has_the_gap_since_the_newest_heartbeat(before: int | None, first_gap: int) -> None:
    runs = Runs()
    runs.follow(heartbeat(None))
    runs.follow(heartbeat(before))
    assert gap(runs, 5) == first_gap


def test_without_a_heartbeat_before_it_the_first_result_has_no_gap() -> None:
    runs = Runs()
    runs.follow(SourceState(run_id="a", source="cam", stage="capture", state="running"))
    assert gap(runs, 5) == 0
    runs.follow(heartbeat(5))
    assert (gap(runs, 8), gap(runs, 8), gap(runs, 9)) == (2, None, 0)


def test_another_run_counts_on_its_own() -> None:
    runs = Runs()
    runs.follow(heartbeat(70))
    runs.follow(heartbeat(None, "b"))
    assert gap(runs, 2, "b") == 2
    assert gap(runs, 0, "c") == 0


def test_the_state_of_a_source_is_that_of_its_newest_message_until_its_end() -> None:
    def change(state: str, stage: str = "capture") -> SourceState:
        return SourceState(run_id="a", source="cam", stage=stage, state=state, detail=f"{stage} {state}")

    runs = Runs()
    seen: list[str | None] = []
    for message in (
        result(0), change("disconnected"), change("restarting", "detect"), result(1), beat("running"),
        change("disconnected"), End(run_id="a", source="cam", seq=1, reason="done"),
    ):  # fmt: skip
        runs.follow(message)
        seen.append(runs.states["cam"].state if runs.states else None)
    assert seen == [None, "disconnected", "disconnected", "disconnected", "running", "disconnected", None]
    runs.follow(change("disconnected"))
    assert runs.states == {"cam": change("disconnected")}


def test_a_source_is_active_from_its_first_message_to_its_end() -> None:
    runs = Runs()
    active = [runs.active]
    for message in (heartbeat(None), result(0), End(run_id="a", source="cam", seq=None, reason="done")):
        runs.follow(message)
        active.append(runs.active)
    assert active == [False, True, True, False]


def test_a_result_after_the_end_of_its_run_does_not_begin_it_again() -> None:
    runs = Runs()
    runs.follow(result(0))
    runs.follow(End(run_id="a", source="cam", seq=3, reason="done"))
    assert gap(runs, 3) == 2
    assert gap(runs, 3) is None
    assert not runs.active
