from __future__ import annotations

import re
from dataclasses import replace

import pytest
from support.results import EMPTY_RESULT

from streamseg.messages import Heartbeat, ResultMessage, Timings
from streamseg.wire.backlog import MOST_BYTES, Backlog
from streamseg.wire.limits import PART_BYTES
from streamseg.wire.protocol import decode, encode_event, encode_result

PERIOD_S = 1 / 30


def result(
    seq: int, *, source: str = "cam", mode: str = "live", run_id: str = "a", later_s: float = 0.0
) -> list[bytes]:
    """A frame that is sent `seq` periods after the start of its run, half of them after its capture."""
    sent_ns = round((1000 + seq * PERIOD_S + later_s) * 1e9)
    age_ms = 500 * PERIOD_S
    made = replace(EMPTY_RESULT, run_id=run_id, seq=seq, source=source, mode=mode)
    made = replace(made, t_capture_unix_ns=sent_ns - round(age_ms * 1e6), timings=Timings(published=age_ms))
    return encode_result(made, "masks").parts


def heartbeat() -> list[bytes]:
    return encode_event(Heartbeat(run_id="a", source="cam", seq=0, t_unix_ns=1))


def add(backlog: Backlog, now_s: float, *messages: list[bytes]) -> None:
    for parts in messages:
        _, source, view = parts[0].decode().rsplit("/", 2)
        backlog.add(parts, source, now_s, is_result=view != "state")


def take(backlog: Backlog, now_s: float = 0.0) -> list[int | None]:
    """The `seq` of everything that can be taken; None is any other message."""
    taken: list[int | None] = []
    while (parts := backlog.take(now_s)) is not None:
        message = decode(parts)
        taken.append(message.seq if isinstance(message, ResultMessage) else None)
    return taken


def test_live_results_that_are_too_old_are_dropped() -> None:
    backlog = Backlog(1.0, 1000)
    add(backlog, 5.0, *(result(seq) for seq in range(300)))
    assert take(backlog, 5.0) == list(range(269, 300))


@pytest.mark.parametrize(("mode", "max_lag_s"), [("every-frame", 1.0), ("", 1.0), ("live", None)])
def test_nothing_is_dropped_of_a_file_or_without_a_limit(mode: str, max_lag_s: float | None) -> None:
    backlog = Backlog(max_lag_s, 1000)
    add(backlog, 5.0, *(result(seq, mode=mode) for seq in range(300)))
    assert take(backlog) == list(range(300))


@pytest.mark.parametrize("message", [heartbeat(), result(0), result(0, mode="every-frame")])
def test_what_waits_is_limited_in_bytes(message: list[bytes]) -> None:
    backlog = Backlog(1.0, 1000)
    large = [*message[:2], bytes(PART_BYTES)]
    add(backlog, 5.0, heartbeat(), *[large] * 40, result(1))
    assert len(backlog) <= MOST_BYTES // PART_BYTES + 1
    kept = []
    while (parts := backlog.take(5.0)) is not None:
        kept.append(parts)
    assert kept[-1] == result(1)
    add(backlog, 5.0, large)
    assert len(backlog) == 1


def test_each_source_is_compared_with_itself_and_other_messages_stay() -> None:
    backlog = Backlog(1.0, 1000)
    add(backlog, 5.0, result(0), heartbeat(), result(0, source="door"), result(60), result(1, source="door"))
    assert take(backlog) == [None, 0, 60, 1]


def test_one_message_of_a_file_is_added_at_a_time_and_all_of_a_live_source() -> None:
    backlog = Backlog(1.0, 1000)
    grows = [backlog.grows]
    for mode in ("every-frame", "live"):
        add(backlog, 5.0, result(0, mode=mode))
        grows.append(backlog.grows)
    assert grows == [True, False, True]


def test_lag_is_what_a_result_waited_longer_than_the_fastest_one_whatever_the_clocks_show() -> None:
    backlog = Backlog(1.0, 1000)
    lags = []
    for seq, now_s in ((0, 5.0), (1, 5.2), (2, 5.0)):
        add(backlog, now_s, result(seq))
        backlog.take(now_s + 0.1)
        lags.append(round(backlog.lag_s, 3))
    assert lags == [0.1, round(0.3 - PERIOD_S, 3), 0.1]
    add(backlog, 905.0, result(0, run_id="b"))
    backlog.take(905.0)
    assert backlog.lag_s == 0, "another run has another least delay"


def test_a_reader_that_was_away_is_late_until_a_new_result_arrives() -> None:
    backlog = Backlog(1.0, 1000)
    add(backlog, 5.0, result(0))
    late = [backlog.late]
    take(backlog)
    add(backlog, 20.0, result(1))  # a buffer held it
    late.append(backlog.late)
    add(backlog, 20.0, result(450))
    late.append(backlog.late)
    assert late == [False, True, False]
    assert take(backlog) == [450]


def test_other_messages_are_not_late_while_a_camera_is_away() -> None:
    backlog = Backlog(1.0, 1000)
    add(backlog, 5.0, result(0))
    take(backlog, 5.0)
    add(backlog, 65.0, heartbeat())
    assert not backlog.late


def test_a_reader_is_not_late_for_ever_where_the_clock_of_the_publisher_is_set_back() -> None:
    backlog = Backlog(1.0, 1000)
    late = []
    for seq, later_s in ((0, 0.0), (1, -3600.0), (2, -3600.0), (3, 0.0), (4, -3600.0)):
        add(backlog, 5.0 + seq * PERIOD_S, result(seq, later_s=later_s))
        late.append(backlog.late)
        if seq == 1:
            backlog.settle()
    assert late == [False, True, False, False, True]


def test_the_oldest_results_beyond_the_limit_are_dropped() -> None:
    backlog = Backlog(1.0, 3)
    add(backlog, 5.0, heartbeat(), *(result(seq) for seq in range(5)))
    assert take(backlog) == [None, 2, 3, 4]


@pytest.mark.parametrize("time", [b'"' + b"9" * 400 + b'"', b"7"], ids=["beyond a double", "not a text"])
def test_a_header_that_cannot_be_read_keeps_its_place(time: bytes) -> None:
    backlog = Backlog(1.0, 1000)
    topic, header, masks = result(1)
    broken = [topic, re.sub(rb'(?<="t_capture_unix_ns":)"\d+"', time, header), masks]
    add(backlog, 5.0, result(0), broken, [b"streamseg/1/cam/masks"], result(60))
    assert backlog.take(5.0) == broken
    assert backlog.take(5.0) == [b"streamseg/1/cam/masks"]
    assert take(backlog) == [60]
