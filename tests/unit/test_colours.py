from __future__ import annotations

import random
from itertools import combinations

import pytest
from support.colour_vision import SIGHTS, least_distance

from streamseg.colours import FIRST_CHOICE, PALETTE, Colours, default_colour
from streamseg.messages import Detection, TrackedObject


def seen(*tracks: int | None, class_id: int = 0) -> list[TrackedObject]:
    return [
        TrackedObject(
            detection=Detection(
                xyxy=(0, 0, 9, 9), confidence=0.5, class_id=class_id, class_name="cup", tracker_id=track
            )
        )
        for track in tracks
    ]


def given(colours: Colours, seq: int, *tracks: int | None) -> list[str | None]:
    objects = seen(*tracks)
    colours.give(objects, seq)
    return [item.colour for item in colours.apply(objects)]


@pytest.mark.parametrize("sight", SIGHTS)
def test_any_two_colours_of_a_picture_are_told_apart(sight: str) -> None:
    """The twelve colours before: 0.068 for normal eyes, 0.010 for eyes that see red and green alike."""
    assert least_distance(PALETTE[:5], sight) >= 0.22
    assert least_distance(PALETTE[:FIRST_CHOICE], sight) >= 0.107
    assert least_distance(PALETTE, sight) >= 0.058
    assert len(set(PALETTE)) == 32


def test_objects_in_one_picture_have_different_colours_and_keep_them() -> None:
    """Tracks come and go for a thousand frames, up to sixteen at a time."""
    chance, colours, tracks, newest = random.Random(3), Colours(), [1], 1
    known: dict[int, str | None] = {}
    for seq in range(1000):
        if chance.random() < 0.2 and len(tracks) < FIRST_CHOICE:
            newest += 1
            tracks.append(newest)
        if chance.random() < 0.18 and len(tracks) > 1:
            tracks.remove(chance.choice(tracks))
        shown = dict(zip(tracks, given(colours, seq, *tracks), strict=True))
        assert len(set(shown.values())) == len(shown)
        assert set(shown.values()) <= set(PALETTE[:FIRST_CHOICE])
        for track in known.keys() & shown.keys():
            assert shown[track] == known[track]
        known = shown
    assert newest > 100


def test_a_track_that_returns_has_its_colour_again() -> None:
    colours = Colours()
    (before,) = given(colours, 0, 1)
    for seq, track in enumerate(range(2, FIRST_CHOICE + 1), 1):
        given(colours, seq, track)
    assert given(colours, 99, 1) == [before]


def test_a_track_that_returns_after_another_took_its_colour_gets_another() -> None:
    colours = Colours()
    (before,) = given(colours, 0, 1)
    others = tuple(range(2, len(PALETTE) + 2))
    given(colours, 1, *others)
    shown = given(colours, 2, 1, *others[:-2])
    assert before in shown[1:]
    assert len(set(shown)) == len(shown)


def test_a_crowd_shares_colours_evenly() -> None:
    shown = given(Colours(), 0, *range(1, 3 * len(PALETTE) + 1))
    assert all(shown.count(colour) == 3 for colour in PALETTE)


def test_objects_without_a_track_have_the_colour_of_their_class() -> None:
    colours = Colours()
    objects = [*seen(None, class_id=1), *seen(1, class_id=1), *seen(None, class_id=2), *seen(None, class_id=1)]
    colours.give(objects, 0)
    first, track, second, again = (item.colour for item in colours.apply(objects))
    assert first == again
    assert all(one != other for one, other in combinations((first, track, second), 2))


def test_only_new_objects_change_the_state_and_it_continues_in_another_process() -> None:
    colours = Colours()
    assert colours.give(seen(1, 2), 0)
    assert not colours.give(seen(2, 1), 1)
    again = Colours(colours.state())
    assert given(again, 2, 2, 1) == given(colours, 2, 2, 1)
    assert given(again, 3, 5, 6) == given(colours, 3, 5, 6)


def test_without_an_assignment_the_colour_follows_the_track_or_else_the_class() -> None:
    (track,), (untracked,) = seen(40, class_id=3), seen(None, class_id=40)
    assert default_colour(track) == default_colour(untracked) == PALETTE[40 % len(PALETTE)]
