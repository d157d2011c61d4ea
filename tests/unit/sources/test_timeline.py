from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamseg.sources.timeline import FileTimeline, LiveTimeline, interval_ns

MS = 1_000_000
S = 1000 * MS


def in_file(*stamps: int | None) -> list[int]:
    timeline = FileTimeline(interval=40 * MS)
    return [timeline.at(None if stamp is None else stamp * MS) // MS for stamp in stamps]


def test_a_file_starts_at_zero_whatever_its_first_timestamp() -> None:
    assert in_file(5000, 5040, 5100) == [0, 40, 100]


def test_missing_timestamps_are_an_interval_apart() -> None:
    assert in_file(None, None, None) == [0, 40, 80]
    assert in_file(0, None, 80) == [0, 40, 80]


def test_a_single_wrong_timestamp_shifts_nothing_after_it() -> None:
    assert in_file(0, 40, 40, 30, 160) == [0, 40, 41, 42, 160]


def test_restarting_timestamps_continue_after_an_interval() -> None:
    assert in_file(0, 40, 5000, 0, 40) == [0, 40, 5000, 5040, 5080]


@given(st.lists(st.one_of(st.none(), st.integers(-(10**14), 10**14)), max_size=50))
def test_a_files_times_always_rise(stamps: list[int | None]) -> None:
    timeline = FileTimeline(interval_ns(30.0))
    times = [timeline.at(stamp) for stamp in stamps]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert times[:1] in ([], [0])


def test_a_live_stream_follows_its_own_timestamps_not_their_arrival() -> None:
    timeline = LiveTimeline()
    assert timeline.at(7 * S, 100 * S) == 0
    assert timeline.at(7 * S + 40 * MS, 100 * S + 90 * MS) == 40 * MS
    assert timeline.at(7 * S + 80 * MS, 100 * S + 91 * MS) == 80 * MS


def test_the_clock_measures_the_gap_of_a_reconnection() -> None:
    timeline = LiveTimeline()
    timeline.at(7 * S, 100 * S)
    timeline.reconnected()
    assert timeline.at(0, 103 * S) == 3 * S
    assert timeline.at(40 * MS, 103 * S + 40 * MS) == 3 * S + 40 * MS


def test_a_wrapped_timestamp_is_ignored() -> None:
    wrap = 2**32 * S // 90_000
    timeline = LiveTimeline()
    timeline.at(wrap - 40 * MS, 100 * S)
    assert timeline.at(0, 100 * S + 41 * MS) == 41 * MS
    assert timeline.at(40 * MS, 100 * S + 90 * MS) == 81 * MS


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(-(10**15), 10**15)), st.integers(0, 10**11), st.booleans()),
        max_size=50,
    )
)
def test_a_live_streams_times_always_rise(events: list[tuple[int | None, int, bool]]) -> None:
    timeline = LiveTimeline()
    clock, last = 0, -1
    for stamp, passed, reconnected in events:
        clock += passed
        if reconnected:
            timeline.reconnected()
        now = timeline.at(stamp, clock)
        assert now > last
        last = now
