from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from support.drawn_photographs import ellipse_bits, mask_of, photograph, rectangle_bits, write_photographs

from streamseg.errors import DataError
from streamseg.masks import Bits, Mask
from streamseg.train.outlines import Photograph, hold_out, read_outlines

HEIGHT, WIDTH = 60, 80
SQUARE = [[10, 12, 40, 12, 40, 44, 10, 44]]


def picture(number: int, name: str | None = None) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number}.png" if name is None else name, "height": HEIGHT, "width": WIDTH}


def outline(segmentation: Any, picture: int = 1, **more: Any) -> dict[str, Any]:
    return {"image_id": picture, "segmentation": segmentation, **more}


def write(folder: Path, pictures: list[dict[str, Any]], outlines: list[dict[str, Any]]) -> Path:
    """A COCO file, and its photographs beside it."""
    for one in pictures:
        path = folder / one["file_name"]
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    file = folder / "coco.json"
    file.write_bytes(msgspec.json.encode({"info": {"year": 2026}, "images": pictures, "annotations": outlines}))
    return file


def read_one(folder: Path, segmentation: Any) -> Mask:
    [found] = read_outlines(write(folder, [picture(1)], [outline(segmentation)]), folder).photographs
    assert found.path == folder / "1.png"
    [mask] = found.masks
    return mask


def run_lengths(bits: Bits) -> list[int]:
    lengths: list[int] = mask_of(bits).runs(*bits.shape).tolist()
    return lengths


def test_a_polygon_is_filled(tmp_path: Path) -> None:
    mask = read_one(tmp_path, SQUARE)
    assert mask.bits.all()
    assert mask.xyxy == (10.0, 12.0, 40.0, 44.0)


def test_objects_have_their_classes_and_photographs_their_source(tmp_path: Path) -> None:
    pictures = [picture(1) | {"source": "street"}, picture(2) | {"source": {"camera": 7}}, picture(3)]
    objects = [outline(SQUARE, 1, category_id=4), outline(SQUARE, 1, category_id=9), outline(SQUARE, 2, category_id=5)]
    file = write(tmp_path, pictures, [*objects, outline(SQUARE, 3)])
    content = msgspec.json.decode(file.read_bytes())
    categories = [{"id": 4, "name": "cup"}, {"id": 5, "name": "ball"}]
    file.write_bytes(msgspec.json.encode(content | {"categories": categories}))
    found = read_outlines(file, tmp_path).photographs
    assert [one.classes for one in found] == [("cup", ""), ("ball",), ("",)]
    assert [one.source for one in found] == ["street", "", ""]


def test_polygons_of_one_object_are_joined(tmp_path: Path) -> None:
    mask = read_one(tmp_path, [[5, 5, 20, 5, 20, 20, 5, 20], [40, 30, 60.0, 30.0, 60, 50, 40, 50]])
    true = rectangle_bits(HEIGHT, WIDTH, 5, 5, 20, 20) | rectangle_bits(HEIGHT, WIDTH, 40, 30, 60, 50)
    assert np.array_equal(mask.paste(HEIGHT, WIDTH), true)


@pytest.mark.parametrize("compressed", [False, True])
def test_run_lengths_are_read_to_the_pixel(tmp_path: Path, compressed: bool) -> None:
    bits = ellipse_bits(HEIGHT, WIDTH, (40, 28), (25, 17)) & ~ellipse_bits(HEIGHT, WIDTH, (40, 28), (9, 6))
    counts = mask_of(bits).rle(HEIGHT, WIDTH)["counts"] if compressed else run_lengths(bits)
    assert np.array_equal(read_one(tmp_path, {"counts": counts, "size": [HEIGHT, WIDTH]}).paste(HEIGHT, WIDTH), bits)


def test_crowds_and_small_objects_are_skipped(tmp_path: Path) -> None:
    crowd = {"counts": run_lengths(rectangle_bits(HEIGHT, WIDTH, 0, 0, 70, 50)), "size": [HEIGHT, WIDTH]}
    flat = [[10, 12, 60, 12, 60, 23, 10, 23]]
    just = [[10, 12, 60, 12, 60, 24, 10, 24]]
    nothing = {"counts": [HEIGHT * WIDTH], "size": [HEIGHT, WIDTH]}
    outlines = [outline(crowd, iscrowd=1), outline(flat), outline(just, iscrowd=0), outline(nothing)]
    read = read_outlines(write(tmp_path, [picture(1)], outlines), tmp_path)
    [found] = read.photographs
    assert read.notes == [
        "left out: 1 annotation marked as crowds (if each is one object, write iscrowd: 0),"
        " the first is number 1 in the file",
        "left out: 1 annotation smaller than 12 pixels, the first is number 2 in the file",
        "left out: 1 annotation without an outline, the first is number 4 in the file",
    ]
    assert [mask.xyxy for mask in found.masks] == [(10.0, 12.0, 60.0, 24.0)]


def test_photographs_are_sorted_by_their_ids(tmp_path: Path) -> None:
    pictures = [picture(number) for number in (30, 4, 200, 11)]
    outlines = [outline(SQUARE, number) for number in (200, 30, 11, 4, 4)]
    found = read_outlines(write(tmp_path, pictures, outlines), tmp_path).photographs
    assert [one.path.name for one in found] == ["4.png", "11.png", "30.png", "200.png"]
    assert [len(one.masks) for one in found] == [2, 1, 1, 1]


def test_photographs_without_a_usable_outline_are_skipped_and_may_be_missing(tmp_path: Path) -> None:
    pictures = [picture(1), picture(2), picture(3)]
    file = write(tmp_path, pictures, [outline(SQUARE), outline([[1, 1, 5, 1, 5, 5, 1, 5]], 2)])
    (tmp_path / "2.png").unlink()
    (tmp_path / "3.png").unlink()
    assert [one.path.name for one in read_outlines(file, tmp_path).photographs] == ["1.png"]


def test_names_of_photographs_are_relative_to_their_folder(tmp_path: Path) -> None:
    file = write(tmp_path, [picture(1, "day/1.png")], [outline(SQUARE)])
    [found] = read_outlines(file, tmp_path).photographs
    assert found.path == tmp_path / "day" / "1.png"


def test_a_missing_photograph_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, [picture(1)], [outline(SQUARE)])
    with pytest.raises(DataError, match=r"elsewhere/1\.png: no such file, but .*coco\.json names it"):
        read_outlines(file, tmp_path / "elsewhere")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.json: No such file or directory"):
        read_outlines(tmp_path / "gone.json", tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"images": []}', b'{"images": [{"id": "a"}], "annotations": []}', b"\xff\xd8"],
)
def test_a_file_that_is_not_coco_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.json"
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_outlines(file, tmp_path)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


MALFORMED = "whose outline is neither polygons nor run lengths of its picture"
NOTHING = "without an outline"


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (None, NOTHING),
        ([], NOTHING),
        ([[]], NOTHING),
        ([[1, 2]], NOTHING),
        ([[10, 10, 40, 40]], NOTHING),
        ({}, NOTHING),
        ({"counts": [HEIGHT * WIDTH], "size": [HEIGHT, WIDTH]}, NOTHING),
        (5, MALFORMED),
        ("outline", MALFORMED),
        ({"size": [HEIGHT, WIDTH]}, MALFORMED),
        ({"counts": "abc"}, MALFORMED),
        ({"counts": "", "size": [HEIGHT, WIDTH]}, MALFORMED),
        ({"counts": [100, 4700]}, MALFORMED),
        ({"counts": [-1, 4801], "size": [HEIGHT, WIDTH]}, MALFORMED),
        ({"counts": [HEIGHT * WIDTH], "size": [WIDTH, HEIGHT]}, MALFORMED),
        ([[1, "a", 3, 4, 5, 6]], MALFORMED),
        ([[1, 2, 3, 4, 5, 6, 7]], MALFORMED),
        ([[[1, 2], [50, 2], [50, 60]]], MALFORMED),
        ([[5000, 5000, 5100, 5000, 5100, 5100]], MALFORMED),
    ],
)
def test_a_bad_outline_is_left_out_and_named(tmp_path: Path, segmentation: Any, reason: str) -> None:
    outlines = [outline(SQUARE, id=3), outline(segmentation, id=4), outline(segmentation, id=5)]
    read = read_outlines(write(tmp_path, [picture(1)], outlines), tmp_path)
    assert [len(one.masks) for one in read.photographs] == [1]
    [note] = read.notes
    assert note.startswith(f"left out: 2 annotations {reason}, the first is id 4")
    assert "Python" not in note and "numpy" not in note and "\n" not in note


def test_a_missing_outline_is_left_out(tmp_path: Path) -> None:
    box = {"image_id": 1, "id": 9, "bbox": [1, 2, 30, 40]}
    read = read_outlines(write(tmp_path, [picture(1)], [box, outline(SQUARE)]), tmp_path)
    assert read.notes == ["left out: 1 annotation without an outline, the first is id 9"]


@pytest.mark.parametrize(
    "segmentation",
    [[*SQUARE, [1, 2, 30, 40]], [*SQUARE, [1, 2]], [*SQUARE, []], SQUARE[0]],
    ids=["four numbers", "two numbers", "none", "flat"],
)
def test_what_has_no_area_does_not_matter_beside_what_has(tmp_path: Path, segmentation: Any) -> None:
    assert read_one(tmp_path, segmentation).xyxy == (10.0, 12.0, 40.0, 44.0)


@pytest.mark.parametrize("crowd", [False, None, 0, 0.0])
def test_what_is_no_crowd_may_be_said_in_many_ways(tmp_path: Path, crowd: Any) -> None:
    read = read_outlines(write(tmp_path, [picture(1)], [outline(SQUARE, iscrowd=crowd)]), tmp_path)
    assert (len(read.photographs), read.notes) == (1, [])


@pytest.mark.parametrize("crowd", [True, 1])
def test_masks_that_are_all_marked_as_crowds_are_taken(tmp_path: Path, crowd: Any) -> None:
    mask = {"counts": run_lengths(rectangle_bits(HEIGHT, WIDTH, 0, 0, 70, 50)), "size": [HEIGHT, WIDTH]}
    outlines = [outline(mask, iscrowd=crowd), outline([], id=2)]
    read = read_outlines(write(tmp_path, [picture(1)], outlines), tmp_path)
    assert [len(one.masks) for one in read.photographs] == [1]
    assert read.notes[0] == "every outline is marked as a crowd, so each is taken as one object"


def test_what_is_given_twice_counts_once(tmp_path: Path) -> None:
    outlines = [outline(SQUARE, id=1), outline(SQUARE, id=1), outline([[0, 0, 50, 0, 50, 50]], id=1)]
    read = read_outlines(write(tmp_path, [picture(1), picture(1)], outlines), tmp_path)
    assert [len(one.masks) for one in read.photographs] == [2]
    assert read.notes == ["left out: 1 annotation given twice, the first is id 1"]


def test_annotations_of_no_certain_photograph_are_left_out(tmp_path: Path) -> None:
    pictures = [picture(1), picture(2), picture(2, "other.png"), picture(3, "gone.png")]
    outlines = [outline(SQUARE, number, id=number) for number in (1, 2, 3, 4)]
    file = write(tmp_path, pictures, outlines)
    (tmp_path / "gone.png").unlink()
    read = read_outlines(file, tmp_path)
    assert [one.path.name for one in read.photographs] == ["1.png"]
    assert read.notes == [
        "left out: 1 annotation of a picture id that several files share, the first is id 2",
        "left out: 1 annotation of no picture in the file, the first is id 4",
        "left out: 1 annotation of a photograph that is missing, the first is id 3",
    ]


def test_an_annotation_of_other_types_is_left_out(tmp_path: Path) -> None:
    outlines = [{"segmentation": SQUARE}, outline(SQUARE)]
    read = read_outlines(write(tmp_path, [picture(1)], outlines), tmp_path)
    [note] = read.notes
    assert note.startswith("left out: 1 annotation not as in COCO, the first is number 1 in the file (")


def test_ids_may_be_text_and_sizes_have_a_point(tmp_path: Path) -> None:
    pictures = [{**picture(number), "id": str(number), "width": float(WIDTH)} for number in (2, 1)]
    file = write(tmp_path, pictures, [outline(SQUARE, id="a") | {"image_id": number} for number in ("1", "2")])
    read = read_outlines(file, tmp_path)
    assert [(one.path.name, one.width) for one in read.photographs] == [("1.png", WIDTH), ("2.png", WIDTH)]


@pytest.mark.parametrize("name", ["images/1.png", "images\\1.png", "C:\\data\\1.png", "../images/1.png"])
def test_a_photograph_is_also_found_by_the_last_part_of_its_name(tmp_path: Path, name: str) -> None:
    file = write(tmp_path, [picture(1)], [outline(SQUARE)])
    file.write_bytes(msgspec.json.encode({"images": [picture(1, name)], "annotations": [outline(SQUARE)]}))
    [found] = read_outlines(file, tmp_path).photographs
    assert found.path == tmp_path / "1.png"


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    file = write(tmp_path, [picture(1)], [outline(SQUARE)])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(read_outlines(file, tmp_path).photographs) == 1


def test_a_file_without_outlines_is_refused(tmp_path: Path) -> None:
    for outlines in ([], [outline([[1, 1, 5, 1, 5, 5, 1, 5]])], [outline(SQUARE, picture=7)]):
        with pytest.raises(DataError, match="holds no outline of an object of 12 pixels or more"):
            read_outlines(write(tmp_path, [picture(1)], outlines), tmp_path)


def test_drawn_photographs_are_read_back_to_the_pixel(tmp_path: Path) -> None:
    file = write_photographs(tmp_path / "data", 3)
    found = read_outlines(file, file.parent / "images").photographs
    assert len(found) == 3
    for number, one in enumerate(found):
        for mask, true in zip(one.masks, photograph(number)[1], strict=True):
            assert mask.iou(true) == 1


@pytest.mark.parametrize(
    ("count", "expected"), [(0, []), (1, []), (4, []), (5, [4]), (6, [4]), (10, [4, 9]), (23, [4, 9, 14, 19])]
)
def test_every_fifth_photograph_is_held_out(count: int, expected: list[int]) -> None:
    photographs = [Photograph(Path(f"{number}.png"), 40, 30, (), ()) for number in range(count)]
    seen, held_out = hold_out(photographs)
    assert held_out == [photographs[number] for number in expected]
    assert seen == [one for one in photographs if one not in held_out]
