"""`auto_annotate` of labelled pictures, which needs no model."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.annotated import write_picture

from streamseg import auto_annotate
from streamseg.errors import SourceError


@pytest.mark.parametrize("data", [".", "../photos", "../photos/"])
def test_labels_lie_beside_the_folder_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "empty"))
    (tmp_path / "photos").mkdir()
    write_picture(tmp_path / "photos" / "a.png", 8, 8)
    (tmp_path / "photos_auto_annotate_labels").mkdir()
    (tmp_path / "photos_auto_annotate_labels" / "a.txt").touch()
    monkeypatch.chdir(tmp_path / "photos")
    auto_annotate(data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "photos_auto_annotate_labels"]


def test_files_that_are_no_pictures_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture(tmp_path / "a.png", 8, 8)
    (tmp_path / "photo.heic").touch()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").touch()
    auto_annotate(tmp_path, output_dir=tmp_path / "labels")
    assert f"left out of {tmp_path.name}: 1 .heic, 1 folder; only its pictures are annotated" in capsys.readouterr().err


def test_a_picture_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no folder"):
        auto_annotate(write_picture(tmp_path / "a.png", 8, 8))
