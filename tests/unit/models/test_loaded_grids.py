"""Which networks MobileSAM keeps loaded, without any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamseg.models.segmenters.mobile_sam import loaded_grids
from streamseg.models.segmenters.mobile_sam.input_grid import InputGrid
from streamseg.models.segmenters.mobile_sam.loaded_grids import LoadedGrids

WIDE, UPRIGHT, SQUARE = (InputGrid.of_picture(size, 1024) for size in ((720, 1280), (1280, 720), (480, 640)))
CINEMA, PANORAMA = (InputGrid.of_picture(size, 1024) for size in ((540, 1280), (360, 1280)))
SHAPES = st.tuples(st.integers(1, 4096), st.integers(1, 4096))


class Loading:
    """Loads a grid as its networks, and notes which."""

    def __init__(self) -> None:
        self.loaded: list[InputGrid] = []
        self.grids = LoadedGrids(self._load)

    def _load(self, grid: InputGrid) -> InputGrid:
        self.loaded.append(grid)
        return grid

    def encode(self, *wanted: InputGrid) -> list[InputGrid]:
        """The grids that pictures are encoded on."""
        return [self.grids.networks(grid) for grid in wanted]


def test_a_few_shapes_are_encoded_on_grids_of_their_own() -> None:
    loading = Loading()
    assert loading.encode(WIDE, UPRIGHT, PANORAMA, WIDE) == [WIDE, UPRIGHT, PANORAMA, WIDE]
    assert loading.loaded == [WIDE, UPRIGHT, PANORAMA]


def test_one_more_is_encoded_on_the_smallest_that_covers_it() -> None:
    loading = Loading()
    assert loading.encode(WIDE, SQUARE, UPRIGHT, CINEMA, PANORAMA)[3:] == [WIDE, WIDE]
    assert loading.loaded == [WIDE, SQUARE, UPRIGHT]


def test_where_none_covers_it_the_whole_input_takes_the_place_of_the_oldest() -> None:
    loading = Loading()
    assert loading.encode(PANORAMA, CINEMA, UPRIGHT, WIDE, PANORAMA, CINEMA) == [
        *(PANORAMA, CINEMA, UPRIGHT, SQUARE),
        *(CINEMA, CINEMA),
    ]
    assert loading.loaded == [PANORAMA, CINEMA, UPRIGHT, SQUARE], "the whole input is that of 4:3"


def test_what_was_not_used_for_long_makes_room() -> None:
    loading = Loading()
    loading.encode(WIDE, SQUARE, UPRIGHT)
    assert loading.encode(PANORAMA) == [WIDE]
    for _ in range(loaded_grids._IDLE // 2):
        assert loading.encode(SQUARE, UPRIGHT) == [SQUARE, UPRIGHT]
    assert loading.encode(PANORAMA) == [PANORAMA]
    assert loading.loaded == [WIDE, SQUARE, UPRIGHT, PANORAMA]


@given(st.lists(SHAPES, min_size=1, max_size=64))
def test_shapes_in_turn_do_not_evict_each_other(shapes: list[tuple[int, int]]) -> None:
    loading = Loading()
    wanted = [InputGrid.of_picture(shape, 1024) for shape in shapes]
    for _ in range(2):
        used = loading.encode(*wanted)
        assert all(grid.covers(each) for grid, each in zip(used, wanted, strict=True))
        assert len(loading.grids._networks) <= loaded_grids._LOADED
    before = len(loading.loaded)
    for _ in range(10):
        loading.encode(*wanted)
    assert len(loading.loaded) == before


@pytest.mark.parametrize(("grid", "other", "covers"), [(SQUARE, WIDE, True), (WIDE, SQUARE, False), (WIDE, WIDE, True)])
def test_a_grid_covers_what_has_no_more_rows_and_columns(grid: InputGrid, other: InputGrid, covers: bool) -> None:
    assert grid.covers(other) == covers
    assert not InputGrid.whole(1024).covers(InputGrid.whole(512)), "it is another input"


def test_nothing_is_left_of_a_backend_that_failed() -> None:
    loading = Loading()
    loading.encode(WIDE)
    loading.grids.clear()
    loading.encode(WIDE)
    assert loading.loaded == [WIDE, WIDE]
