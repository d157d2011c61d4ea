"""What is annotated: told apart from what was annotated before, and shown to a detector that needs to see it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.annotated import write_picture

from streamseg.annotate.pictures import PictureFile, open_pictures
from streamseg.errors import SourceError

HEIGHT, WIDTH = 80, 120


def test_a_copy_is_known_by_its_content(tmp_path: Path) -> None:
    picture, copy = PictureFile(write_picture(tmp_path / "a.bmp", HEIGHT, WIDTH)), tmp_path / "copy.bmp"
    picture.save(copy)
    assert picture.is_at(copy)
    (tmp_path / "a.bmp").touch()
    assert picture.is_at(copy)
    write_picture(tmp_path / "a.bmp", HEIGHT, WIDTH, seed=1)
    assert not picture.is_at(copy)


def test_what_cannot_be_read_cannot_be_told_apart(tmp_path: Path) -> None:
    picture, copy = PictureFile(write_picture(tmp_path / "a.bmp", HEIGHT, WIDTH)), tmp_path / "copy.bmp"
    picture.save(copy)
    (tmp_path / "a.bmp").unlink()
    with pytest.raises(SourceError, match=r"a\.bmp cannot be read: No such file"):
        picture.is_at(copy)


@pytest.mark.parametrize(
    ("detector", "consecutive"),
    [("yolox-nano", False), ("my_yolox.onnx", False), ("motion", True), ("a-plug-in", True)],
)
def test_frames_that_are_done_are_shown_only_to_what_may_learn_from_them(
    shared_data: Path, detector: str, consecutive: bool
) -> None:
    assert open_pictures(shared_data / "clips" / "cups.mp4", every=1, detector=detector).consecutive is consecutive
