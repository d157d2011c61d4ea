"""Pictures from files come as OpenCV would give them, or with one line that says why not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from streamseg.errors import SourceError
from streamseg.images import image_files, read_image
from streamseg.messages import Image

TURNED_RIGHT = 6
"""What a camera that was held on its side writes under EXIF's orientation."""


@pytest.fixture
def picture() -> Image:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm"])
def test_a_written_picture_is_read_back(picture: Image, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"püctüre{suffix}"
    path.write_bytes(cv2.imencode(suffix, picture)[1].tobytes())
    assert np.array_equal(read_image(path), picture)


def test_a_picture_is_turned_upright_like_in_opencv(picture: Image, tmp_path: Path) -> None:
    path = tmp_path / "held.jpg"
    exif = PilImage.Exif()
    exif[0x0112] = TURNED_RIGHT
    PilImage.fromarray(picture).save(path, exif=exif)
    read = read_image(path)
    assert read.shape == (60, 40, 3)
    assert np.array_equal(read, np.asarray(cv2.imread(str(path))))


def test_other_depths_and_channels_become_bgr(picture: Image, tmp_path: Path) -> None:
    deep, clear, grey = (tmp_path / f"{name}.png" for name in ("deep", "clear", "grey"))
    cv2.imwrite(str(deep), picture.astype(np.uint16) * 257)
    cv2.imwrite(str(clear), np.dstack([picture, np.full(picture.shape[:2], 7, np.uint8)]))
    cv2.imwrite(str(grey), picture[..., 0])
    assert np.array_equal(read_image(deep), picture)
    assert np.array_equal(read_image(clear), picture)
    assert np.array_equal(read_image(grey), np.repeat(picture[..., :1], 3, axis=2))


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff\xe0 nor this"])
def test_a_file_that_is_no_picture_is_an_error_with_its_name(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.jpg"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"wrong\.jpg is not a picture"):
        read_image(path)
    assert capfd.readouterr().err == ""


def test_half_a_picture_is_an_error(picture: Image, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "half.jpg"
    content = cv2.imencode(".jpg", picture)[1].tobytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError, match=r"half\.jpg is not a picture"):
        read_image(path)
    assert capfd.readouterr().err == ""


def test_a_missing_file_or_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent\.jpg cannot be read: No such file"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(SourceError, match="directory"):
        read_image(tmp_path)


def test_the_pictures_of_a_folder_are_sorted(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c.webp", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in image_files(tmp_path)] == ["a.jpg", "b.PNG", "c.webp"]


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no pictures"):
        image_files(tmp_path)
    with pytest.raises(SourceError, match=r"absent cannot be read"):
        image_files(tmp_path / "absent")
