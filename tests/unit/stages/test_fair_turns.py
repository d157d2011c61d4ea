from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from streamseg.stages.fair_turns import FairTurns

NAMES = [f"camera-{number}" for number in range(8)]
NEEDS = st.floats(0.01, 100)


def turn(turns: FairTurns, needs: Mapping[str, float]) -> str | None:
    """Choose a source and serve it."""
    chosen = turns.choose(needs)
    if chosen is not None:
        turns.served(chosen, needs)
    return chosen


def test_equal_needs_are_served_in_turn() -> None:
    turns = FairTurns(NAMES[:3])
    chosen = [turn(turns, dict.fromkeys(NAMES[:3], 1.0)) for _ in range(9)]
    assert chosen == chosen[:3] * 3
    assert sorted(name for name in chosen[:3] if name) == NAMES[:3]


def test_a_greater_need_has_more_turns_but_leaves_the_others_half_of_their_share() -> None:
    turns = FairTurns(NAMES[:4])
    needs = dict.fromkeys(NAMES[:4], 1.0) | {NAMES[0]: 1000.0}
    counts = Counter(turn(turns, needs) for _ in range(800))
    assert counts[NAMES[0]] >= 400
    assert all(count == 100 for name, count in counts.items() if name != NAMES[0])


def test_a_turn_that_served_nobody_is_not_counted() -> None:
    turns, needs = FairTurns(NAMES[:2]), dict.fromkeys(NAMES[:2], 1.0)
    assert turns.choose(needs) == turns.choose(needs)


def test_without_a_source_that_waits_nobody_has_the_turn() -> None:
    assert FairTurns(NAMES).choose({}) is None


@given(
    st.integers(1, 8).flatmap(
        lambda count: st.lists(
            st.dictionaries(st.sampled_from(NAMES[:count]), NEEDS, min_size=1), min_size=1, max_size=120
        ).map(lambda rounds: (count, rounds))
    )
)
def test_no_source_waits_longer_than_twice_its_fair_share(case: tuple[int, list[dict[str, float]]]) -> None:
    count, rounds = case
    turns, waited = FairTurns(NAMES[:count]), Counter[str]()
    for needs in rounds:
        chosen = turn(turns, needs)
        assert chosen in needs
        for name in needs:
            waited[name] = 0 if name == chosen else waited[name] + 1
        assert max(waited.values()) < 2 * count
