from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from streamseg.labels import LabelPlaces, Rectangle

WIDTH, HEIGHT = 320, 240
BOX = Rectangle(50, 60, 150, 160)
Label = tuple[Rectangle, int, int]
"""The box of an object, width and height of its label."""


def placed(labels: Sequence[Label], width: int = WIDTH, height: int = HEIGHT) -> list[Rectangle | None]:
    places = LabelPlaces(width, height)
    return [places.take(*label) for label in labels]


@st.composite
def labels(draw: st.DrawFn) -> Label:
    left, top = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    right, bottom = draw(st.integers(left + 1, WIDTH)), draw(st.integers(top + 1, HEIGHT))
    return Rectangle(left, top, right, bottom), draw(st.integers(10, 120)), draw(st.integers(8, 30))


@given(st.lists(labels(), max_size=30))
@settings(max_examples=60)
def test_labels_lie_inside_the_picture_and_cover_each_other_never(given: list[Label]) -> None:
    places = placed(given)
    for (_, width, height), place in zip(given, places, strict=True):
        if place is not None:
            assert (place.right - place.left, place.bottom - place.top) == (width, height)
            assert min(place) >= 0 and place.right <= WIDTH and place.bottom <= HEIGHT
    for one, other in combinations([place for place in places if place is not None], 2):
        assert one.right <= other.left or other.right <= one.left or one.bottom <= other.top or other.bottom <= one.top


def test_a_label_alone_lies_on_the_upper_edge_of_its_box() -> None:
    assert placed([(BOX, 40, 12)]) == [Rectangle(50, 49, 90, 61)]


def test_the_first_label_keeps_its_place_and_the_others_stay_at_the_box() -> None:
    places = placed([(BOX, 40, 12)] * 8)
    assert places[:1] == placed([(BOX, 40, 12)])
    for place in places:
        assert place is not None
        assert place.left >= 50 and place.right <= 150 and place.bottom > 48 and place.top < 172


def test_a_label_without_a_free_place_is_left_out() -> None:
    places = placed([(Rectangle(0, 0, 100, 40), 100, 20)] * 3, 100, 40)
    assert [place is None for place in places] == [False, False, True]


def test_a_label_larger_than_the_picture_begins_at_its_edge() -> None:
    assert placed([(Rectangle(5, 5, 9, 9), 40, 12)], 10, 10) == [Rectangle(0, 0, 40, 12)]
