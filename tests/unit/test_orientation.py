"""The eight orientations, with Pillow as the judge."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PilImage
from PIL import ImageOps

from streamseg.messages import Image
from streamseg.orientation import Orientation

ONE = 1 << 16
MATRICES = {
    1: (ONE, 0, 0, 0, ONE),
    2: (-ONE, 0, 0, 0, ONE),
    3: (-ONE, 0, 0, 0, -ONE),
    4: (ONE, 0, 0, 0, -ONE),
    5: (0, ONE, 0, ONE, 0),
    6: (0, ONE, 0, -ONE, 0),
    7: (0, -ONE, 0, -ONE, 0),
    8: (0, -ONE, 0, ONE, 0),
}
"""The first five numbers of the display matrix of each EXIF orientation."""
IMAGE: Image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


def upright(exif: int) -> Image:
    picture = PilImage.fromarray(IMAGE)
    picture.getexif()[0x0112] = exif
    return np.asarray(ImageOps.exif_transpose(picture), np.uint8)


@pytest.mark.parametrize("exif", range(1, 9))
def test_every_orientation_gives_the_upright_picture(exif: int) -> None:
    for turn in (Orientation.from_exif(exif), Orientation.from_matrix(MATRICES[exif])):
        np.testing.assert_array_equal(turn.apply(IMAGE), upright(exif))
        assert turn.apply(IMAGE).flags["C_CONTIGUOUS"]
        assert turn.swaps_sides == (exif >= 5)


@pytest.mark.parametrize("first", range(1, 9))
def test_orientations_follow_each_other(first: int) -> None:
    for second in range(1, 9):
        one, two = Orientation.from_exif(first), Orientation.from_exif(second)
        np.testing.assert_array_equal(one.then(two).apply(IMAGE), two.apply(one.apply(IMAGE)))


def test_rotations_turn_clockwise_and_mirror_afterwards() -> None:
    np.testing.assert_array_equal(Orientation.from_rotation(90).apply(IMAGE), np.rot90(IMAGE, -1))
    np.testing.assert_array_equal(Orientation.from_rotation(-90).apply(IMAGE), np.rot90(IMAGE))
    mirrored = Orientation.from_rotation(90, mirror=True)
    np.testing.assert_array_equal(mirrored.apply(IMAGE), np.rot90(IMAGE, -1)[:, ::-1])


def test_what_gives_no_direction_turns_nothing() -> None:
    for turn in (Orientation.from_exif(0), Orientation.from_exif(9), Orientation.from_matrix((0, 0, 0, 0, 0))):
        assert turn == Orientation()


def test_a_slight_or_scaled_rotation_is_the_nearest_quarter_turn() -> None:
    assert Orientation.from_matrix((1000, 2 * ONE, 0, -ONE, 1000)) == Orientation.from_exif(6)
