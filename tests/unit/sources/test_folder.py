from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from streamseg.config import Config, check_config
from streamseg.errors import SettingsError, SourceError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    return tmp_path / "clips"


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"")


def config(*sources: dict[str, object], **settings: object) -> Config:
    return check_config({"sources": list(sources), **settings})


def named(*sources: dict[str, object]) -> dict[str, str]:
    return {source.name: source.address for source in config(*sources).sources}


def test_a_folder_stands_for_its_videos_in_the_order_of_their_names(folder: Path) -> None:
    fill(folder, "b.MKV", "a.mp4", "notes.txt", ".hidden.mp4")
    (folder / "more.mp4").mkdir()
    assert (
        named({"url": "clips"})
        == named({"url": "clips/"})
        == {
            "a": str(folder / "a.mp4"),
            "b": str(folder / "b.MKV"),
        }
    )


def test_a_pattern_takes_any_file_that_matches(folder: Path) -> None:
    fill(folder, "a1.mp4", "a2.bin", "b.mp4")
    (folder / "a3").mkdir()
    assert named({"url": "clips/a*"}) == {"a1": str(folder / "a1.mp4"), "a2": str(folder / "a2.bin")}
    assert list(named({"url": "**/*.mp4"})) == ["a1", "b"]
    fill(folder, "c[1].mp4")
    assert list(named({"url": "clips/c[1].mp4"})) == ["main"], "a file may have such a name"


def test_what_matches_is_a_file_whatever_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    fill(folder, "0", "push:x.mp4", "~a.mp4")
    (folder / "b[1]").mkdir()
    fill(folder / "b[1]", "c.mp4")
    for pattern, name in {"[0]": "0", "push*:*": "push:x.mp4", "*~a*": "~a.mp4", "b[1]/*.mp4": "b[1]/c.mp4"}.items():
        (source,) = config({"url": f"./{pattern}" if pattern.startswith("push") else pattern}).sources
        assert (source.kind, source.address) == ("file", str(folder / name))


def test_a_folder_that_may_be_listed_but_not_entered_has_no_videos(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, "a.mp4")
    stat = os.stat

    def refused(path: os.PathLike[str] | str, **options: Any) -> os.stat_result:
        if str(path).endswith("a.mp4"):
            raise PermissionError
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refused)
    for url in ("clips", "clips/*"):
        with pytest.raises(SourceError, match=r"has no videos|no file matches"):
            config({"url": url})


def test_names_follow_the_rules_and_are_unique(folder: Path) -> None:
    fill(folder, "Café 1.mp4", "cafe-1.mov", "видео.mp4", "映像.mp4", "x" * 90 + ".mp4", os.fsdecode(b"\xdf.mp4"))
    assert list(named({"url": "clips"})) == [
        *("cafe-1-mp4", "cafe-1-mov", "x" * 58),
        *("file-mp4", "file-mp4-2", "file-mp4-3"),
    ]


def test_a_name_stays_with_its_file_when_another_comes(folder: Path) -> None:
    fill(folder, "clip.mp4", "clip.avi")
    both = named({"url": "clips"})
    assert both == {"clip-avi": str(folder / "clip.avi"), "clip-mp4": str(folder / "clip.mp4")}
    fill(folder, "clip.mkv")
    assert both.items() < named({"url": "clips"}).items()


def test_each_file_of_a_source_has_recordings_of_its_own(folder: Path) -> None:
    fill(folder, "a.mp4", "b.mp4")
    record: dict[str, object] = {"video": "o.mp4", "jsonl": "o.jsonl", "view": "clean"}
    found = config({"url": "clips", "record": record}, {"url": 0, "name": "door", "record": {"video": "o.mp4"}}).sources
    assert [source.record and source.record.video for source in found] == ["o-a.mp4", "o-b.mp4", "o.mp4"]
    assert [source.record and source.record.jsonl for source in found] == ["o-a.jsonl", "o-b.jsonl", None]
    (folder / "b.mp4").unlink()
    assert config({"url": "clips", "record": record}).of("a").record.video == "o.mp4"


def test_a_name_given_to_a_folder_starts_the_names_of_its_files_which_have_its_settings(folder: Path) -> None:
    fill(folder, "a.mp4", "b.mp4")
    (folder / "a.mp4").rename("a.mp4")
    found = config({"url": "a.mp4", "name": "day-b"}, {"url": "clips", "name": "day", "rotate": 90})
    assert [(source.name, source.rotate) for source in found.sources] == [("day-b", 0), ("day-b-2", 90)]


def test_a_source_beside_a_folder_is_called_by_its_place_in_the_settings(folder: Path) -> None:
    fill(folder, "a.mp4", "b.mp4", "camera-1.mp4")
    assert list(named({"url": "clips"}, {"url": 0})) == ["a", "b", "camera-1-2", "camera-1"]
    with pytest.raises(SettingsError, match=r"^sources\.camera-1\.rotate: "):
        config({"url": "clips"}, {"url": 0, "rotate": 45})
    with pytest.raises(SettingsError, match=r"^sources\.day\.rotate: "):
        config({"url": "clips", "name": "day", "rotate": 45}, {"url": 0})


def test_a_run_starts_as_many_files_as_the_settings_say(folder: Path) -> None:
    fill(folder, *(f"{letter}.mp4" for letter in "abcdef"))
    assert config({"url": "clips"}).waiting == ["e", "f"]
    assert config({"url": "clips"}, files_at_once=2).waiting == ["c", "d", "e", "f"]
    assert config({"url": "clips"}, mode="live").waiting == []
    camera: dict[str, object] = {"url": 0, "name": "camera"}
    assert config(camera, {"url": "clips"}, mode="every-frame", files_at_once=5).waiting == ["f"]


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("clips", "sources.main.url: the folder clips has no videos, it is empty; expected files such as .mp4"),
        ("text", "sources.main.url: the folder text has no videos, none of its 2 entries is one; expected"),
        ("clips/*.mp4", "sources.main.url: no file matches clips/*.mp4; expected video files: check the folder"),
        ("gone/?.mp4", "sources.main.url: no file matches gone/?.mp4"),
    ],
)
def test_nothing_to_run_is_refused(folder: Path, url: str, complaint: str) -> None:
    Path("text").mkdir()
    fill(Path("text"), "a.txt", "b.jpg")
    with pytest.raises(SourceError) as caught:
        config({"url": url})
    assert str(caught.value).startswith(complaint)


def test_more_files_than_a_run_takes_are_refused(folder: Path) -> None:
    fill(folder, *(f"{number}.mp4" for number in range(65)))
    with pytest.raises(SettingsError, match="these are 65 files, and a run takes at most 64; choose some"):
        config({"url": "clips"})
