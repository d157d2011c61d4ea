"""Pictures from files come as OpenCV would give them, or with one line that says why not."""

from __future__ import annotations

import os
import resource
import struct
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage
from support.picture_bombs import jpeg_of_size

from streamseg.errors import SourceError, UsageError
from streamseg.images import (
    IMAGE_SUFFIXES,
    decode_picture,
    image_files,
    is_still,
    left_out,
    most_pixels,
    read_image,
)
from streamseg.messages import Image
from streamseg.sources.animation import is_animated_webp

TURNED_RIGHT = 6
"""What a camera that was held on its side writes under EXIF's orientation."""
SUFFIXES = [".avif", ".bmp", ".gif", ".jp2", ".jpg", ".pam", ".png", ".ppm", ".ras", ".tif", ".webp"]
"""One of each kind."""


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
    limits = r"at most 1,000,000 pixels a side and 200,000,000 in all are read: reduce it, or set STREAMSEG_MAX_PIXELS"
    with pytest.raises(SourceError, match=rf"large\.png is too large, {width}x{height} pixels; {limits}"):
        read_image(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_bomb_is_refused_before_it_is_decoded(
    picture: Image, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"bomb{suffix}"
    if cv2.haveImageWriter(suffix):
        path.write_bytes(cv2.imencode(suffix, picture)[1].tobytes())
    else:
        PilImage.fromarray(picture).save(path)
    monkeypatch.setenv("STREAMSEG_MAX_PIXELS", "2400")
    assert read_image(path).shape == (40, 60, 3)
    monkeypatch.setenv("STREAMSEG_MAX_PIXELS", "2399")
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(SourceError, match=rf"bomb\{suffix} is too large, 60x40 pixels; at most .* and 2,399 in all"):
        read_image(path)


def test_a_jpeg_that_only_claims_to_be_large_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jpg"
    path.write_bytes(jpeg_of_size(30_000, 30_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceError, match="too large, 30000x30000 pixels"):
        read_image(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("text", ["many", "-1", "0", "1e6", "1073741825", "9" * 5000])
def test_a_limit_that_is_no_number_of_pixels_is_an_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSEG_MAX_PIXELS", text)
    with pytest.raises(UsageError, match=r"STREAMSEG_MAX_PIXELS .* expected a number of pixels from 1 to 1073741824"):
        most_pixels()


@pytest.mark.parametrize("name", ["pipe.png", "pipe.gif", "pipe.webp", "zero.jpg", "zero.avif"])
def test_only_regular_files_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.startswith("pipe"):
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    assert is_still(path)
    assert not is_animated_webp(path)
    with pytest.raises(SourceError, match="is a device or a pipe; expected a picture in a regular file"):
        read_image(path)


def test_a_file_with_more_bytes_than_a_picture_has_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SourceError, match=r"sparse\.jpg is too large, 1,099,511,627,776 bytes"):
        read_image(path)


def test_the_picture_of_a_message_has_the_size_of_its_frame(picture: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    decoded = decode_picture(jpeg, 60, 40)
    assert decoded is not None and decoded.shape == (40, 60, 3)
    monkeypatch.setattr(cv2, "imdecode", None)
    for wrong in (b"", b"\xff\xd8", jpeg[:100], jpeg_of_size(16_000, 16_000)):
        assert decode_picture(wrong, 60, 40) is None
    assert decode_picture(jpeg, 40, 60) is None


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
    with pytest.raises(SourceError, match="is a folder"):
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
