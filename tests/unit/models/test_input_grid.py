from __future__ import annotations

import pytest

from streamseg.models.segmenters.mobile_sam.input_grid import InputGrid


@pytest.mark.parametrize(
    ("resized", "rows", "columns"),
    [
        ((576, 1024), 48, 64),
        ((1024, 576), 64, 48),
        ((640, 1024), 56, 64),
        ((768, 1024), 64, 64),
        ((623, 1024), 56, 64),
        ((622, 1024), 48, 64),
        ((1, 1024), 16, 64),
        ((1024, 1024), 64, 64),
    ],
)
def test_the_picture_and_nine_cells_of_padding_in_steps_of_eight(
    resized: tuple[int, int], rows: int, columns: int
) -> None:
    assert InputGrid.around(*resized) == InputGrid(64, rows, columns)


def test_other_inputs_have_fewer_cells() -> None:
    assert InputGrid.around(288, 512) == InputGrid(32, 32, 32)
    assert InputGrid.around(432, 768) == InputGrid(48, 40, 48)
    assert InputGrid.whole(768) == InputGrid(48, 48, 48)


def test_one_more_cell_is_read_if_there_is_one() -> None:
    part, whole = InputGrid.around(576, 1024), InputGrid.whole(1024)
    assert (part.height, part.width) == (49 * 16, 1024)
    assert (whole.height, whole.width) == (1024, 1024)


def test_each_grid_has_a_name_of_its_own() -> None:
    sizes = [(height, 1024) for height in range(1, 1025)] + [(1024, width) for width in range(1, 1024)] + [(288, 512)]
    grids = {InputGrid.around(*size) for size in sizes}
    assert len({str(grid) for grid in grids}) == len(grids) == 14


@pytest.mark.parametrize("height", range(1, 1025, 13))
def test_masks_are_decoded_on_all_cells_that_they_interpolate(height: int) -> None:
    grid = InputGrid.around(height, 1024)
    assert grid.drawn_columns == 64
    # Logits lie four pixels apart, and the picture's last pixel is between two of them.
    assert grid.drawn_rows == 64 or 4 * grid.drawn_rows > (height - 0.5) / 4 - 0.5 + 1
    assert grid.drawn_rows <= grid.rows
