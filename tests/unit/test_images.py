"""Pictures from files come as OpenCV would give them, or with one line that says why not."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from streamseg.errors import SourceError
from streamseg.images import IMAGE_SUFFIXES, image_files, left_out, read_image
from streamseg.messages import Image

TURNED_RIGHT = 6
"""What a camera that was held on its side writes under EXIF's orientation."""


@pytest.fixture
def picture() -> Image:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(picture: Image, before_pixels: bytes = b"") -> bytes:
    """A PNG file with more chunks between its header and its pixels."""
    content = cv2.imencode(".png", picture)[1].tobytes()
    return content[:33] + before_pixels + content[33:]


def empty_png(width: int, height: int) -> bytes:
    """A PNG file that declares a size, and holds nothing of the picture."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".dib", ".tiff", ".ppm", ".pnm", ".pam", ".ras", ".sr"])
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


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "GIF", "AVIF", "WEBP"])
def test_other_kinds_are_read_whatever_their_ending(picture: Image, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.xyz"
    PilImage.fromarray(picture).save(path, kind)
    assert read_image(path).shape == picture.shape


def test_nothing_but_the_pixels_of_a_png_matters(
    picture: Image, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "extras.png"
    extras = png_chunk(b"iCCP", b"profile\0\0") + png_chunk(b"sBIT", bytes(9)) + png_chunk(b"gAMA", bytes(4))
    path.write_bytes(png(picture, extras) + b"behind the end")
    assert np.array_equal(read_image(path), picture)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("place", [20, 200, -6])
def test_a_damaged_png_is_an_error_without_a_word_of_libpng(
    picture: Image, place: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "damaged.png"
    content = bytearray(png(picture))
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"damaged\.png is not a picture .*expected a complete"):
        read_image(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("width", "height"), [(40_000, 30_000), (1_000_001, 1)])
def test_a_picture_that_is_too_large_is_called_so(
    width: int, height: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(empty_png(width, height))
    limits = r"at most 1,000,000 pixels a side and 1,073,741,824 in all"
    with pytest.raises(SourceError, match=rf"large\.png is too large, {width}x{height} pixels; {limits}"):
        read_image(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("samples", [np.float32, np.float64, np.int32])
def test_samples_that_are_not_read_are_named(samples: type[np.generic], tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    path.write_bytes(cv2.imencode(".tif", np.zeros((4, 5), samples))[1].tobytes())
    with pytest.raises(SourceError, match=rf"deep\.tif holds {np.dtype(samples)} samples; expected 8 or 16 bits"):
        read_image(path)


def test_of_an_animation_the_first_picture_is_read(picture: Image, tmp_path: Path) -> None:
    first, second = (PilImage.fromarray(pixels) for pixels in (picture, 255 - picture))
    for kind in ("WEBP", "PNG"):
        stream = BytesIO()
        first.save(stream, kind, save_all=True, append_images=[second], lossless=True)
        (tmp_path / "moving").write_bytes(stream.getvalue())
        assert np.array_equal(read_image(tmp_path / "moving")[..., ::-1], picture)


def test_a_missing_file_or_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent\.jpg cannot be read: No such file"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(SourceError, match="directory"):
        read_image(tmp_path)


def test_the_pictures_of_a_folder_are_sorted(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c.webp", "phone.jfif", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in image_files(tmp_path)] == ["a.jpg", "b.PNG", "c.webp", "phone.jfif"]


def test_what_is_no_picture_is_counted(tmp_path: Path) -> None:
    assert left_out(tmp_path) == ""
    for name in ("a.heic", "b.HEIC", "README", ".hidden.txt", *(f"a{suffix}" for suffix in IMAGE_SUFFIXES)):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    assert left_out(tmp_path) == "2 .heic, 1 file without an ending, 1 folder"


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no pictures, it is empty; expected"):
        image_files(tmp_path)
    (tmp_path / "photo.heic").touch()
    with pytest.raises(SourceError, match=r"has no pictures, it holds 1 \.heic; expected"):
        image_files(tmp_path)
    with pytest.raises(SourceError, match=r"absent cannot be read"):
        image_files(tmp_path / "absent")
