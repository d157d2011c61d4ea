from __future__ import annotations

import numpy as np

from streamseg.show import square_pixels


def test_pixels_that_are_not_square_are_stretched() -> None:
    picture = np.zeros((576, 720, 3), np.uint8)
    assert square_pixels(picture, (64, 45)).shape == (576, 1024, 3)
    assert square_pixels(picture, (8, 9)).shape == (648, 720, 3)
    assert square_pixels(picture, (1, 1)) is picture


def test_no_aspect_makes_a_picture_larger_than_a_frame_may_be() -> None:
    picture = np.zeros((480, 640, 3), np.uint8)
    assert square_pixels(picture, (1, 65535)).shape == (8192, 1, 3)
    assert square_pixels(picture, (65535, 1)).shape == (1, 8192, 3)
