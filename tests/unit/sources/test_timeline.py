from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamseg.sources.timeline import FileTimeline, LiveTimeline, interval_ns, timed

MS = 1_000_000
S = 1000 * MS
HOUR = 3_600_000
"""In milliseconds."""


def in_file(*stamps: float | None, restarts: bool = False) -> list[float]:
    """The times in milliseconds of a 25 fps file with these timestamps in milliseconds."""
    timeline = FileTimeline(interval=40 * MS, restarts=restarts)
    return [
        time / MS for _, time in timed([None if one is None else round(one * MS) for one in stamps], same, timeline)
    ]


def same(stamp: int | None) -> int | None:
    return stamp


def regular(count: int, step: float = 40) -> list[float]:
    return [number * step for number in range(count)]


def test_a_file_starts_at_zero_whatever_its_first_timestamp() -> None:
    assert in_file(5000, 5040, 5100) == [0, 40, 100]


def test_missing_timestamps_lie_between_those_around_them() -> None:
    assert in_file(None, None, None) == [0, 40, 80]
    assert in_file(0, None, 80) == [0, 40, 80]
    assert in_file(0, None, None, 90, 120) == [0, 30, 60, 90, 120]


@pytest.mark.parametrize("error", [10 * HOUR, -10 * HOUR, 2000, 800, -800, 100, -100, 49 * 24 * HOUR])
@pytest.mark.parametrize("wrong", [{0}, {20}, {38}, {39}, {20, 21}, set(range(5, 40, 10))])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_wrong_timestamp_is_replaced_by_the_expected_step(error: float, wrong: set[int], restarts: bool) -> None:
    stamps = [stamp + error * (number in wrong) for number, stamp in enumerate(regular(40))]
    times = in_file(*stamps, restarts=restarts)
    if wrong == {39} and 0 < error < 10_000:
        assert times == [*regular(39), stamps[39]], "nothing tells that the last frame is not late"
    elif wrong == {0} and -10_000 < error < 0:
        assert times == [0, *(stamp - error for stamp in regular(40)[1:])], "nor that the first one is not early"
    else:
        assert times == regular(40)


@pytest.mark.parametrize("shift", [-500, -900, -1100, -10 * HOUR])
def test_after_a_lasting_step_back_the_times_go_on(shift: float) -> None:
    after = [stamp + shift for stamp in regular(40)[30:]]
    assert in_file(*regular(30), *after) == regular(40)
    after[0] -= 10 * HOUR
    assert in_file(*regular(30), *after) == regular(40)


def test_clips_that_were_joined_play_one_after_the_other() -> None:
    assert in_file(*regular(25) * 3) == regular(75)
    assert in_file(0, 40, 5000, 0, 40) == [0, 40, 5000, 5040, 5080]


def test_a_lasting_jump_ahead_is_a_pause_unless_the_format_lets_its_clock_restart() -> None:
    jump = [*regular(20), *(stamp + 10 * HOUR for stamp in regular(40)[20:])]
    assert in_file(*jump) == jump
    assert in_file(*jump, restarts=True) == regular(40)
    pause = [*regular(20), *(stamp + 5000 for stamp in regular(40)[20:])]
    assert in_file(*pause, restarts=True) == pause


def test_equal_timestamps_are_spread() -> None:
    assert in_file(*[900] * 40) == regular(40)
    assert in_file(*(stamp // 80 * 80 for stamp in regular(40))) == regular(40)


@pytest.mark.parametrize("fps", [0.1, 1, 60, 240, 999, 1200, 2400, 10_000])
def test_any_rate_keeps_its_steps(fps: float) -> None:
    stamps = regular(40, 1000 / fps)
    assert in_file(*stamps) == pytest.approx(stamps, abs=1e-3)


def test_the_rate_is_that_of_the_timestamps_not_the_declared_one() -> None:
    assert in_file(0, 10, 20, 20, 40, -HOUR) == [0, 10, 20, 30, 40, 50]


def test_a_rate_that_varies_keeps_its_steps() -> None:
    stamps = [0, 20, 60, 160, 1160, 1180, 31_180, 31_190, 91_190, 151_190, 151_230]
    assert in_file(*stamps) == stamps


@given(st.lists(st.one_of(st.none(), st.integers(-(10**14), 10**14)), max_size=50))
def test_a_files_times_always_rise(stamps: list[int | None]) -> None:
    timeline = FileTimeline(interval_ns(30.0))
    times = [time for _, time in timed(stamps, same, timeline)]
    assert len(times) == len(stamps)
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


def live(*events: tuple[float, float]) -> list[float]:
    """The times of frames with these timestamps, decoded at these times of the clock; all in milliseconds."""
    timeline = LiveTimeline()
    return [timeline.at(round(stamp * MS), round(clock * MS)) / MS for stamp, clock in events]


@pytest.mark.parametrize("error", [10 * HOUR, -10 * HOUR, 2000, 800, -800])
@pytest.mark.parametrize("wrong", [{20}, set(range(5, 40, 10))])
def test_a_live_timestamp_that_is_wrong_is_replaced_at_once(error: float, wrong: set[int]) -> None:
    stamps = [stamp + error * (number in wrong) for number, stamp in enumerate(regular(40))]
    assert live(*zip(stamps, regular(40), strict=True)) == regular(40)


@pytest.mark.parametrize("shift", [10 * HOUR, -10 * HOUR, 2000, -500, -900])
def test_after_a_camera_sets_its_clock_the_times_go_on(shift: float) -> None:
    stamps = [stamp + shift * (number >= 20) for number, stamp in enumerate(regular(40))]
    assert live(*zip(stamps, regular(40), strict=True)) == regular(40)


def test_equal_timestamps_of_a_live_stream_are_spread() -> None:
    pairs = [stamp // 80 * 80 for stamp in regular(40)]
    assert live(*zip(pairs, regular(40), strict=True)) == regular(40)
    assert live(*zip([7.0] * 40, regular(40), strict=True)) == regular(40)


def test_a_burst_after_a_stall_keeps_its_steps() -> None:
    clock = [*regular(10), *[1000.0] * 15, *regular(40)[25:]]
    assert live(*zip(regular(40), clock, strict=True)) == regular(40)


def test_a_camera_of_thousands_of_frames_per_second_keeps_its_steps() -> None:
    stamps = regular(40, 0.4)
    assert live(*zip(stamps, stamps, strict=True)) == pytest.approx(stamps, abs=1e-5)


def test_a_live_clock_that_runs_too_fast_or_too_slow_stays_near_ours_without_a_jump() -> None:
    for rate in (1.3, 0.7):
        times = live(*((stamp * rate, stamp) for stamp in regular(1000)))
        assert all(20 < later - earlier < 60 for earlier, later in pairwise(times))
        assert abs(times[-1] - regular(1000)[-1]) <= 5000


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
