"""Category ids are those of COCO's own files, wherever the classes are COCO's."""

from __future__ import annotations

import pytest

from streamseg.categories import COCO_CLASSES, category_id, category_ids

OFFICIAL = {"person": 1, "stop sign": 13, "dog": 18, "cat": 17, "cup": 47, "toothbrush": 90, "hair drier": 89, "tv": 72}


@pytest.mark.parametrize("name", OFFICIAL)
def test_classes_of_coco_have_the_ids_of_its_files(name: str) -> None:
    assert category_id(COCO_CLASSES.index(name), name) == OFFICIAL[name]


def test_the_ids_of_coco_are_mapped_back_by_the_table_of_others() -> None:
    # As Ultralytics' `coco91_to_coco80_class`, whose gaps are None.
    gaps = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
    kept = [number for number in range(1, 92) if number not in gaps]
    assert category_ids(COCO_CLASSES) == kept
    assert len(kept) == 80


def test_other_classes_count_from_one() -> None:
    assert category_ids(("ant", "bee", "cat")) == [1, 2, 3]
    assert category_ids(("moving",)) == [1]
    assert category_id(2, "cat") == 3


def test_more_classes_than_cocos_follow_its_ids() -> None:
    ids = category_ids((*COCO_CLASSES, "helmet", "vest"))
    assert ids[14:17] == [16, 17, 18] and ids[-2:] == [91, 92]
    assert len(set(ids)) == 82


def test_no_two_classes_have_one_id() -> None:
    mixed = tuple(name if place == 11 else f"other {place}" for place, name in enumerate(COCO_CLASSES[:14]))
    assert category_ids(mixed) == list(range(1, 15))
