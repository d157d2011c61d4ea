"""A data set's folder: work is resumed, and the files of others stay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.annotated import CLASSES, COCO_INDEX, detection, disc, settings_of, write_picture

from streamseg.annotate.dataset import Settings, open_dataset
from streamseg.annotate.formats import FORMATS, create_format
from streamseg.annotate.labelling import LabelledObject, LabelledPicture
from streamseg.annotate.pictures import PictureFile
from streamseg.atomic import unfinished
from streamseg.errors import OutputExistsError, UsageError

HEIGHT, WIDTH = 80, 120


def labelled(name: str, count: int = 2) -> LabelledPicture:
    objects = tuple(LabelledObject(detection(number), disc(number, HEIGHT, WIDTH)) for number in range(count))
    return LabelledPicture(name, WIDTH, HEIGHT, objects)


def source(tmp_path: Path, name: str, seed: int = 0) -> PictureFile:
    folder = tmp_path / "pictures"
    folder.mkdir(exist_ok=True)
    return PictureFile(write_picture(folder / name, HEIGHT, WIDTH, seed))


def annotate(
    tmp_path: Path, settings: Settings, names: Sequence[str], *, restart: bool = False, finish: bool = True
) -> list[str]:
    """Add the missing pictures and return their names."""
    added: list[str] = []
    with open_dataset(tmp_path / "out", settings, restart=restart) as dataset:
        for name in names:
            picture = source(tmp_path, name)
            if not dataset.has(picture):
                if not added:
                    dataset.begin(CLASSES)
                dataset.add(picture, labelled(name))
                added.append(name)
        if finish:
            dataset.finish()
    return added


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("data_format", FORMATS)
def test_labelled_pictures_are_not_labelled_again(tmp_path: Path, data_format: str) -> None:
    settings = settings_of(data_format)
    assert annotate(tmp_path, settings, ["a.png", "b.png"]) == ["a.png", "b.png"]
    before = stamps(tmp_path / "out")
    assert annotate(tmp_path, settings, ["a.png", "b.png"]) == []
    assert stamps(tmp_path / "out") == before


@pytest.mark.parametrize("data_format", FORMATS)
def test_pictures_added_later_make_the_same_data_set(tmp_path: Path, data_format: str) -> None:
    at_once, later = tmp_path / "one", tmp_path / "two"
    for folder in (at_once, later):
        folder.mkdir()
    settings = settings_of(data_format)
    annotate(at_once, settings, ["a.png", "b.png", "c.png"])
    assert annotate(later, settings, ["b.png"]) == ["b.png"]
    assert annotate(later, settings, ["a.png", "b.png", "c.png"], finish=False) == ["a.png", "c.png"]
    annotate(later, settings, ["a.png", "b.png", "c.png"])
    assert contents(at_once / "out") == contents(later / "out")


@pytest.mark.parametrize("data_format", FORMATS)
def test_a_picture_appears_only_with_its_labels_wherever_the_process_dies(tmp_path: Path, data_format: str) -> None:
    settings = settings_of(data_format)
    annotate(tmp_path, settings, ["a.png", "b.png", "c.png"])
    whole = contents(tmp_path / "out")
    again = tmp_path / "again"
    again.mkdir()
    out = again / "out"
    annotate(again, settings, ["a.png"], finish=False)
    # b died before its labels were in place, c after that and before its picture was.
    kind = create_format(data_format)
    for name in ("b.png", "c.png"):
        source(again, name).save(unfinished(out / "images" / name))
    label = out / kind.folder / f"b{kind.suffix}"
    unfinished(label).write_bytes(kind.encode(labelled("b.png"))[:20])
    label.with_stem("c").write_bytes(kind.encode(labelled("c.png")))
    unfinished(out / "annotate.json").write_bytes(b"{")
    assert annotate(again, settings, ["a.png", "b.png", "c.png"]) == ["b.png"]
    assert contents(out) == whole


def test_dying_between_the_index_and_the_removal_of_its_parts_changes_nothing(tmp_path: Path) -> None:
    settings = settings_of("coco")
    annotate(tmp_path, settings, ["a.png", "b.png"], finish=False)
    parts = contents(tmp_path / "out" / ".parts")
    annotate(tmp_path, settings, ["a.png", "b.png"])
    whole = contents(tmp_path / "out")
    assert not (tmp_path / "out" / ".parts").exists()
    (tmp_path / "out" / ".parts").mkdir()
    for name, content in parts.items():
        (tmp_path / "out" / ".parts" / name).write_bytes(content)
    assert annotate(tmp_path, settings, ["a.png", "b.png"]) == []
    assert contents(tmp_path / "out") == whole


def test_other_settings_are_refused_by_name_and_nothing_changes(tmp_path: Path) -> None:
    annotate(tmp_path, settings_of("yolo"), ["a.png"])
    before = stamps(tmp_path / "out")
    with pytest.raises(
        UsageError,
        match=r"made with format yolo, not coco, conf 0\.25, not 0\.4; name another folder, or start over with -y",
    ):
        annotate(tmp_path, settings_of("coco", conf=0.4), ["a.png"])
    assert stamps(tmp_path / "out") == before


@pytest.mark.parametrize("new", FORMATS)
@pytest.mark.parametrize("old", FORMATS)
def test_a_restart_removes_earlier_results_and_nothing_else(tmp_path: Path, old: str, new: str) -> None:
    annotate(tmp_path, settings_of(old), ["a.png", "b.png"])
    annotate(tmp_path, settings_of(old), ["c.png"], finish=False)
    out = tmp_path / "out"
    foreign = {"notes.txt": b"mine", "images/readme.md": b"mine", "images/unknown.png": b"mine"}
    for name, content in foreign.items():
        (out / name).write_bytes(content)
    assert annotate(tmp_path, settings_of(new, conf=0.4), ["b.png", "d.png"], restart=True) == ["b.png", "d.png"]
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    annotate(fresh, settings_of(new, conf=0.4), ["b.png", "d.png"])
    assert contents(out) == contents(fresh / "out") | foreign


def test_nothing_is_removed_before_the_first_new_picture(tmp_path: Path) -> None:
    annotate(tmp_path, settings_of("yolo"), ["a.png"])
    before = contents(tmp_path / "out")
    with open_dataset(tmp_path / "out", settings_of("yolo", conf=0.9), restart=True) as dataset:
        assert not dataset.has(source(tmp_path, "a.png"))
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("restart", [False, True])
def test_a_folder_of_other_things_is_refused(tmp_path: Path, restart: bool) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("all of it")
    with (
        pytest.raises(OutputExistsError, match="is not empty and holds no data set"),
        open_dataset(tmp_path / "out", settings_of("yolo"), restart=restart),
    ):
        raise AssertionError
    assert contents(tmp_path / "out") == {"thesis.tex": b"all of it"}


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with (
        pytest.raises(OutputExistsError, match="is a file"),
        open_dataset(tmp_path / "out", settings_of("yolo"), restart=True),
    ):
        raise AssertionError


@pytest.mark.parametrize("exists", [False, True])
def test_an_attempt_that_writes_nothing_leaves_no_trace(tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "deep" / "out").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ZeroDivisionError), open_dataset(tmp_path / "deep" / "out", settings_of("yolo"), restart=False):
        raise ZeroDivisionError
    assert sorted(tmp_path.rglob("*")) == before


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    settings = settings_of("yolo")
    with (
        open_dataset(tmp_path / "out", settings, restart=False) as dataset,
        pytest.raises(UsageError, match="another process writes"),
        open_dataset(tmp_path / "out", settings, restart=False),
    ):
        raise AssertionError
    assert dataset is not None
    assert annotate(tmp_path, settings, ["a.png"]) == ["a.png"]
    assert [path.name for path in (tmp_path / "out").glob(".*")] == []


@pytest.mark.parametrize("data_format", FORMATS)
def test_a_removed_picture_is_added_again(tmp_path: Path, data_format: str) -> None:
    settings = settings_of(data_format)
    annotate(tmp_path, settings, ["a.png", "b.png"])
    whole = contents(tmp_path / "out")
    (tmp_path / "out" / "images" / "a.png").unlink()
    assert annotate(tmp_path, settings, ["a.png", "b.png"]) == ["a.png"]
    assert contents(tmp_path / "out") == whole


def test_the_index_drops_a_removed_picture(tmp_path: Path) -> None:
    annotate(tmp_path, settings_of("coco"), ["a.png", "b.png"])
    (tmp_path / "out" / "images" / "a.png").unlink()
    assert annotate(tmp_path, settings_of("coco"), ["b.png"]) == []
    index = json.loads((tmp_path / "out" / COCO_INDEX).read_text())
    assert [image["file_name"] for image in index["images"]] == ["b.png"]
    assert {annotation["image_id"] for annotation in index["annotations"]} == {index["images"][0]["id"]}


@pytest.mark.parametrize("other", ["a.jpg", "a.png"])
def test_another_picture_of_the_same_name_is_refused(tmp_path: Path, other: str) -> None:
    annotate(tmp_path, settings_of("yolo"), ["a.png"])
    changed = PictureFile(write_picture(tmp_path / other, HEIGHT + 1, WIDTH, seed=1))
    with (
        open_dataset(tmp_path / "out", settings_of("yolo"), restart=False) as dataset,
        pytest.raises(UsageError, match=rf"{other} is not the picture that .*a\.png was copied from"),
    ):
        dataset.has(changed)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    annotate(tmp_path, settings_of("yolo"), ["a.png"])
    with (
        open_dataset(tmp_path / "out", settings_of("yolo"), restart=False) as dataset,
        pytest.raises(UsageError, match="other classes"),
    ):
        dataset.begin(CLASSES[1:])


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    annotate(tmp_path, settings_of("yolo"), ["a.png"])
    (tmp_path / "out" / "annotate.json").write_text(json.dumps({"settings": 3}))
    with (
        pytest.raises(OutputExistsError, match="not as streamseg wrote it"),
        open_dataset(tmp_path / "out", settings_of("yolo"), restart=True),
    ):
        raise AssertionError


def test_a_failure_to_write_is_one_line(tmp_path: Path) -> None:
    annotate(tmp_path, settings_of("yolo"), ["a.png"])
    with open_dataset(tmp_path / "out", settings_of("yolo"), restart=False) as dataset:
        dataset.begin(CLASSES)
        (tmp_path / "out" / "labels" / "a.txt").unlink()
        (tmp_path / "out" / "labels").rmdir()
        with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
            dataset.add(source(tmp_path, "b.png"), labelled("b.png"))
    assert not (tmp_path / "out" / "images" / "b.png").exists()
