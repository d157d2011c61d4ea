"""Pictures to annotate: compared with their copies, and passed to a detector that needs them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage
from PIL import ImageOps
from support.annotated import write_picture
from support.clips import cut_short, write_clip

from streamseg.annotate.pictures import Picture, PictureFile, open_pictures
from streamseg.errors import SourceError, UsageError
from streamseg.images import read_image

HEIGHT, WIDTH = 80, 120


def test_a_copy_is_recognized_by_its_content(tmp_path: Path) -> None:
    picture, copy = PictureFile(write_picture(tmp_path / "a.bmp", HEIGHT, WIDTH)), tmp_path / "copy.bmp"
    picture.save(copy)
    assert picture.matches(copy)
    (tmp_path / "a.bmp").touch()
    assert picture.matches(copy)
    write_picture(tmp_path / "a.bmp", HEIGHT, WIDTH, seed=1)
    assert not picture.matches(copy)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff", "avif"])
def test_a_picture_with_a_rotation_is_written_upright(
    tmp_path: Path, kind: str, orientation: int, capfd: pytest.CaptureFixture[str]
) -> None:
    path, copy = tmp_path / f"a.{kind}", tmp_path / f"copy.{kind}"
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    stored = np.stack([x * 2, y * 3, x + y], axis=2).astype(np.uint8)
    PilImage.fromarray(stored).save(path, exif=exif)
    picture = PictureFile(path)
    picture.save(copy)
    with PilImage.open(copy) as written, PilImage.open(path) as original:
        assert written.getexif().get(0x0112, 1) == 1
        shown = ImageOps.exif_transpose(original).convert("RGB")
        assert written.size == shown.size
        assert np.abs(np.asarray(written.convert("RGB"), int) - np.asarray(shown, int)).mean() < 3
    assert picture.matches(copy)
    path.touch()
    assert picture.matches(copy)
    copy.write_bytes(path.read_bytes())
    assert not picture.matches(copy)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("kind", "name"), [("jfif", "a.jpg"), ("jpe", "a.jpg"), ("gif", "a.png"), ("jp2", "a.png")])
def test_an_ending_that_other_tools_do_not_read_is_replaced(tmp_path: Path, kind: str, name: str) -> None:
    path, copy = tmp_path / f"a.{kind}", tmp_path / "copy"
    PilImage.linear_gradient("L").convert("RGB").save(path)
    picture = PictureFile(path)
    assert picture.name == name
    picture.save(copy)
    assert np.array_equal(read_image(copy), read_image(path))
    assert (copy.read_bytes() == path.read_bytes()) == (name == "a.jpg")
    assert picture.matches(copy)


def test_an_unreadable_picture_cannot_be_compared(tmp_path: Path) -> None:
    picture, copy = PictureFile(write_picture(tmp_path / "a.bmp", HEIGHT, WIDTH)), tmp_path / "copy.bmp"
    picture.save(copy)
    (tmp_path / "a.bmp").unlink()
    with pytest.raises(SourceError, match=r"a\.bmp cannot be read: No such file"):
        picture.matches(copy)


@pytest.mark.parametrize(
    ("detector", "consecutive"),
    [("yolox-nano", False), ("my_yolox.onnx", False), ("motion", True), ("a-plug-in", True)],
)
def test_labelled_frames_are_passed_only_to_stateful_detectors(
    shared_data: Path, detector: str, consecutive: bool
) -> None:
    assert open_pictures(shared_data / "clips" / "cups.mp4", every=1, detector=detector).consecutive is consecutive


def test_a_folder_says_what_it_holds_beside_pictures(tmp_path: Path) -> None:
    for name in ("a.jfif", "b.gif"):
        write_picture(tmp_path / "a.jpg", HEIGHT, WIDTH).rename(tmp_path / name)
    assert open_pictures(tmp_path, every=1, detector="yolox-nano").left_out == ""
    (tmp_path / "photo.heic").touch()
    pictures = open_pictures(tmp_path, every=1, detector="yolox-nano")
    assert (pictures.total, pictures.left_out) == (2, "1 .heic")


@pytest.mark.parametrize(("name", "moving"), [("a.gif", True), ("a.webp", True), ("a.png", False), ("a.jfif", False)])
def test_an_animation_alone_is_a_video(tmp_path: Path, name: str, moving: bool) -> None:
    first, second = (PilImage.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    first.save(tmp_path / name, save_all=moving, append_images=[second])
    pictures = open_pictures(tmp_path / name, every=1, detector="yolox-nano")
    expected = [f"a_{number:06}.jpg" for number in range(2)] if moving else [name.replace("jfif", "jpg")]
    assert [picture.name for picture in pictures] == expected


def test_a_cut_video_is_not_complete(tmp_path: Path) -> None:
    clip = cut_short(write_clip(tmp_path / "clip.avi", frames=60, codec="mpeg4"), 0.6)
    pictures: Iterator[Picture] = iter(open_pictures(clip, every=10, detector="yolox-nano"))
    assert next(pictures).name == "clip_000000.jpg"
    with pytest.raises(SourceError, match=r"clip\.avi: about \d+ of 60 frames could not be read"):
        list(pictures)


def test_a_name_that_is_not_utf8_is_unicode_in_the_data_set(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", HEIGHT, WIDTH).rename(tmp_path / os.fsdecode(b"a\xdf.png"))
    (picture,) = open_pictures(tmp_path, every=1, detector="yolox-nano")
    assert picture.name == "a%DF.png"
    picture.save(tmp_path / "copy")
    assert picture.matches(tmp_path / "copy")
    write_picture(tmp_path / "a%DF.png", HEIGHT, WIDTH)
    with pytest.raises(UsageError, match="would share one label file"):
        open_pictures(tmp_path, every=1, detector="yolox-nano")
