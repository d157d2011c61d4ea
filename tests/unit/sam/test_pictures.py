"""Whatever holds a picture, the model sees the same."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from streamseg.errors import SourceError
from streamseg.messages import Image
from streamseg.sam.pictures import PictureSource, read_pictures


@pytest.fixture
def picture() -> Image:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def only(source: PictureSource) -> Image:
    (image,) = read_pictures(source)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    return image


def test_files_arrays_and_pillows_pictures_are_the_same(picture: Image, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), picture)
    rgb = PilImage.fromarray(np.ascontiguousarray(picture[..., ::-1]))
    transparent = np.dstack([picture, np.zeros(picture.shape[:2], np.uint8)])
    for source in (path, str(path), picture, transparent, rgb, rgb.convert("RGBA"), PilImage.open(path)):
        assert np.array_equal(only(source), picture)


def test_grey_becomes_bgr(picture: Image) -> None:
    grey = picture[..., 0]
    for source in (grey, PilImage.fromarray(np.ascontiguousarray(grey))):
        assert np.array_equal(only(source), np.repeat(grey[..., None], 3, axis=2))


def test_lists_and_folders_keep_their_order(picture: Image, tmp_path: Path) -> None:
    for name, level in (("b", 2), ("a", 1)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((4, 4, 3), level, np.uint8))
    assert [image[0, 0, 0] for image in read_pictures(tmp_path)] == [1, 2]
    mixed = [image.shape for image in read_pictures([picture, tmp_path, str(tmp_path / "b.png"), picture])]
    assert mixed == [picture.shape, (4, 4, 3), (4, 4, 3), (4, 4, 3), picture.shape]


def test_what_a_folder_holds_beside_pictures_is_said(
    picture: Image, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    only(str(tmp_path))
    assert caplog.messages == []
    (tmp_path / "photo.heic").touch()
    only(str(tmp_path))
    assert caplog.messages == [f"left out of {tmp_path}: 1 .heic; only its pictures are read"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32\(4, 4, 3\)"),
        (np.zeros((4, 4, 2), np.uint8), r"uint8\(4, 4, 2\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"uint8\(1, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8\(0, 4, 3\)"),
        (PilImage.new("I;16", (4, 4)), "more than 8 bits"),
        (PilImage.new("F", (4, 4)), "more than 8 bits"),
        (7, "int is not a picture"),
        ("absent.jpg", "No such file"),
    ],
)
def test_other_types_are_refused(source: PictureSource, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        list(read_pictures(source))


def test_a_url_is_refused_as_typed() -> None:
    with pytest.raises(SourceError, match=r"^https://cam/x\.jpg: https:// cannot be read"):
        list(read_pictures("https://cam/x.jpg"))
