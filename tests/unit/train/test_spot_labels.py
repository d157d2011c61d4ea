from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from streamseg.errors import DataError
from streamseg.train.spot.labels import Labels, read_labels

CATEGORIES = [{"id": 7, "name": "pallet"}, {"id": 3, "name": "forklift"}]


def labels(
    folder: Path, annotations: list[dict[str, object]], classes: tuple[str, ...] | None = None, **of_picture: object
) -> Labels:
    (folder / "images").mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "images" / "one.png"), np.zeros((60, 80, 3), np.uint8))
    coco = {
        "images": [{"id": 1, "file_name": "one.png", "width": 80, "height": 60, **of_picture}],
        "annotations": [{"id": place, "image_id": 1, **one} for place, one in enumerate(annotations)],
        "categories": CATEGORIES,
    }
    (folder / "coco.json").write_bytes(msgspec.json.encode(coco))
    return read_labels(folder / "coco.json", folder / "images", classes)


def test_boxes_and_classes_are_read_also_without_outlines(tmp_path: Path) -> None:
    found = labels(
        tmp_path, [{"category_id": 3, "bbox": [10, 20, 30, 25]}, {"category_id": 7, "bbox": [-5, 50, 100, 40.5]}]
    )
    assert found.classes == ("pallet", "forklift")
    (photograph,) = found.photographs
    assert photograph.boxes.tolist() == [[10, 20, 40, 45], [0, 50, 80, 60]]
    assert photograph.classes.tolist() == [1, 0]
    assert photograph.read().shape == (60, 80, 3)
    assert found.notes == []


def test_other_classes_are_background_and_a_photograph_may_have_none(tmp_path: Path) -> None:
    found = labels(tmp_path, [{"category_id": 7, "bbox": [10, 20, 30, 25]}], ("forklift",))
    assert found.classes == ("forklift",)
    assert found.photographs[0].boxes.shape == (0, 4)


def test_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    box = {"category_id": 3, "bbox": [10, 20, 30, 25]}
    found = labels(
        tmp_path,
        [box, {**box, "iscrowd": 1}, {"category_id": 3}, {**box, "bbox": [1, 2, 0.5, 9]}, {**box, "bbox": [1, 2, 3]}],
    )
    assert len(found.photographs[0].classes) == 1
    assert [note.split(",")[0] for note in found.notes] == [
        "left out: 1 annotation marked as crowds (if each is one object",
        "left out: 2 annotations without a box",
        "left out: 1 annotation whose box is not four numbers",
    ]


def test_objects_of_a_missing_photograph_are_counted(tmp_path: Path) -> None:
    box = {"category_id": 3, "bbox": [10, 20, 30, 25]}
    labels(tmp_path, [box])
    coco = msgspec.json.decode((tmp_path / "coco.json").read_bytes())
    coco["images"].append({"id": 2, "file_name": "gone.png", "width": 80, "height": 60})
    coco["annotations"] += [{"id": number, "image_id": 2, **box} for number in (7, 8)]
    (tmp_path / "coco.json").write_bytes(msgspec.json.encode(coco))
    found = read_labels(tmp_path / "coco.json", tmp_path / "images")
    assert len(found.photographs) == 1
    assert found.notes == ["left out: 2 annotations of a photograph that is missing, the first is id 7"]


def test_if_all_boxes_are_crowds_they_are_taken(tmp_path: Path) -> None:
    assert (
        len(labels(tmp_path, [{"category_id": 3, "bbox": [10, 20, 30, 25], "iscrowd": 1}]).photographs[0].classes) == 1
    )


@pytest.mark.parametrize(
    ("exhaustive", "classes", "complete"),
    [
        ("all", None, True),
        (["forklift"], None, False),
        (["forklift"], ("forklift",), True),
        ([], ("forklift",), False),
        (None, None, True),
    ],
)
def test_a_photograph_says_which_classes_are_complete(
    tmp_path: Path, exhaustive: object, classes: tuple[str, ...] | None, complete: bool
) -> None:
    of_picture = {} if exhaustive is None else {"exhaustive": exhaustive}
    found = labels(tmp_path, [{"category_id": 3, "bbox": [10, 20, 30, 25]}], classes, **of_picture)
    assert found.photographs[0].complete == complete


def test_unknown_classes_and_missing_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no class 'crane'; it has pallet, forklift$"):
        labels(tmp_path, [], ("crane",))
    with pytest.raises(DataError, match="holds no photograph of"):
        read_labels(tmp_path / "coco.json", tmp_path)
