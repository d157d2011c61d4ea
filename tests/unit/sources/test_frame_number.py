from __future__ import annotations

import cv2
import numpy as np
import pytest

from streamseg.sources.crossing import BITS, corner, read_number, write_number


@pytest.mark.parametrize("size", [(720, 1280), (480, 640), (64, 64), (1080, 1920), (1280, 720)])
@pytest.mark.parametrize("number", [0, 1, 1799, 0xABCDEF, 2**BITS - 1])
def test_a_number_is_read_back_from_the_copied_and_the_compressed_picture(size: tuple[int, int], number: int) -> None:
    image = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
    before = image.copy()
    write_number(image, number)
    assert read_number(image.copy()) == number
    compressed = cv2.imdecode(cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 80))[1], cv2.IMREAD_COLOR)
    assert read_number(np.asarray(compressed, np.uint8)) == number
    rows, columns = corner(*size)
    before[:rows, :columns] = image[:rows, :columns]
    np.testing.assert_array_equal(image, before)


def test_numbers_wrap() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    write_number(image, 2**BITS + 5)
    assert read_number(image) == 5


@pytest.mark.parametrize("level", [0, 114, 255])
def test_a_picture_without_a_number_has_none(level: int) -> None:
    assert read_number(np.full((360, 640, 3), level, np.uint8)) is None
    assert read_number(np.random.default_rng(level).integers(0, 256, (360, 640, 3), np.uint8)) is None


def test_a_covered_number_is_not_misread() -> None:
    image = np.zeros((720, 1280, 3), np.uint8)
    write_number(image, 77)
    image[:40, 30:60] = 200
    assert read_number(image) is None
