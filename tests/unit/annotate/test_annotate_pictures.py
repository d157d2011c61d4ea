"""Pictures to annotate: compared with their copies, and passed to a detector that needs them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.annotated import write_picture

from streamseg.annotate.pictures import PictureFile, open_pictures
from streamseg.errors import SourceError

HEIGHT, WIDTH = 80, 120


def test_a_copy_is_recognized_by_its_content(tmp_path: Path) -> None:
    picture, copy = PictureFile(write_picture(tmp_path / "a.bmp", HEIGHT, WIDTH)), tmp_path / "copy.bmp"
    picture.save(copy)
    assert picture.matches(copy)
    (tmp_path / "a.bmp").touch()
    assert picture.matches(copy)
    write_picture(tmp_path / "a.bmp", HEIGHT, WIDTH, seed=1)
    assert not picture.matches(copy)


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
