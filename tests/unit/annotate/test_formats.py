"""The formats as their readers read them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO
from support.annotated import CLASSES, COCO_INDEX, DatasetReader, detection, disc, settings_of, write_picture

from streamseg.annotate.dataset import open_dataset
from streamseg.annotate.formats import FORMATS, create_format
from streamseg.annotate.labelling import LabelledObject, LabelledPicture
from streamseg.annotate.pictures import PictureFile
from streamseg.categories import COCO_CLASSES
from streamseg.errors import UsageError
from streamseg.masks import Bits, Mask
from streamseg.messages import Detection

HEIGHT, WIDTH = 120, 200


def with_hole_and_parts() -> Mask:
    """A ring with an island in its hole, and two parts beside it."""
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(canvas, (60, 60), 40, 1, cv2.FILLED)
    cv2.circle(canvas, (60, 60), 25, 0, cv2.FILLED)
    cv2.circle(canvas, (65, 55), 8, 1, cv2.FILLED)
    cv2.rectangle(canvas, (130, 20), (150, 70), 1, cv2.FILLED)
    canvas[HEIGHT - 1, WIDTH - 1] = 1
    mask = Mask.crop(canvas)
    assert mask is not None
    return mask


def with_hole() -> Mask:
    """A disc with two holes."""
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(canvas, (100, 60), 50, 1, cv2.FILLED)
    cv2.circle(canvas, (85, 50), 12, 0, cv2.FILLED)
    cv2.circle(canvas, (115, 80), 9, 0, cv2.FILLED)
    mask = Mask.crop(canvas)
    assert mask is not None
    return mask


def write_dataset(tmp_path: Path, data_format: str, pictures: dict[str, list[tuple[int, Mask]]]) -> Path:
    """A data set of pictures, each with objects of a class."""
    output = tmp_path / "out"
    tmp_path.mkdir(exist_ok=True)
    with open_dataset(output, settings_of(data_format), restart=False) as dataset:
        dataset.begin(CLASSES)
        for name, objects in pictures.items():
            source = write_picture(tmp_path / name, HEIGHT, WIDTH)
            labelled = tuple(LabelledObject(detection(number), mask) for number, mask in objects)
            dataset.add(PictureFile(source), LabelledPicture(name, WIDTH, HEIGHT, labelled))
        dataset.finish()
    return output


def over_frame(mask: Mask) -> Bits:
    return mask.paste(HEIGHT, WIDTH)


@pytest.mark.parametrize("data_format", FORMATS)
def test_supervision_reads_classes_and_masks(tmp_path: Path, data_format: str) -> None:
    objects = [(4, with_hole()), (1, disc(1, HEIGHT, WIDTH)), (4, disc(3, HEIGHT, WIDTH))]
    output = write_dataset(tmp_path, data_format, {"some.picture.png": objects, "empty.jpg": []})
    reader = DatasetReader(output, data_format)
    assert reader.names == ["empty.jpg", "some.picture.png"]
    assert reader.objects("empty.jpg") == []
    found = reader.objects("some.picture.png")
    assert [name for name, _ in found] == [CLASSES[number] for number, _ in objects]
    if data_format != "coco-polygons":  # supervision rounds corners that lie around the centres of pixels
        for (_, bits), (_, mask) in zip(found, objects, strict=True):
            assert np.array_equal(bits, over_frame(mask))
    # LabelMe's format has only the classes of its objects.
    assert reader.classes == (["bee", "eel"] if data_format == "anylabeling" else list(CLASSES))


@pytest.mark.parametrize(("data_format", "added"), [("coco", 0), ("yolo", 120)])
def test_parts_are_kept_and_only_yolo_adds_a_line_between_them(tmp_path: Path, data_format: str, added: int) -> None:
    mask = with_hole_and_parts()
    output = write_dataset(tmp_path, data_format, {"picture.png": [(2, mask), (2, disc(5, HEIGHT, WIDTH))]})
    (_, bits), (_, other) = DatasetReader(output, data_format).objects("picture.png")
    assert not (over_frame(mask) & ~bits).any()
    assert (bits & ~over_frame(mask)).sum() <= added
    assert np.array_equal(other, over_frame(disc(5, HEIGHT, WIDTH)))


@pytest.mark.parametrize("data_format", FORMATS)
def test_a_picture_without_objects_is_recorded(tmp_path: Path, data_format: str) -> None:
    output = write_dataset(tmp_path, data_format, {"empty.png": []})
    assert (output / "images" / "empty.png").read_bytes() == (tmp_path / "empty.png").read_bytes()
    if data_format == "yolo":
        assert (output / "labels" / "empty.txt").read_bytes() == b""
    elif data_format.startswith("coco"):
        file = json.loads((output / COCO_INDEX).read_bytes())
        assert [image["file_name"] for image in file["images"]] == ["empty.png"]
        assert file["annotations"] == []
    else:
        assert json.loads((output / "images" / "empty.json").read_bytes())["shapes"] == []


def test_polygons_leave_out_specks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = with_hole_and_parts()
    kept = over_frame(mask)
    kept[HEIGHT - 1, WIDTH - 1] = False
    output = write_dataset(tmp_path / "a", "anylabeling", {"picture.png": [(2, mask)]})
    [(_, bits)] = DatasetReader(output, "anylabeling").objects("picture.png")
    assert np.array_equal(bits, kept)
    coco = COCO(str(write_dataset(tmp_path / "b", "coco-polygons", {"picture.png": [(2, mask)]}) / COCO_INDEX))
    [annotation] = coco.loadAnns(coco.getAnnIds())
    assert np.array_equal(coco.annToMask(annotation) > 0, kept)
    x, y, width, height = annotation["bbox"]
    assert annotation["area"] == kept.sum() == kept[y : y + height, x : x + width].sum()
    assert kept[y].any() and kept[y + height - 1].any() and kept[:, x].any() and kept[:, x + width - 1].any()


@pytest.mark.parametrize("data_format", ["coco", "coco-polygons"])
def test_pycocotools_reads_the_masks(tmp_path: Path, data_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    masks = [disc(3, HEIGHT, WIDTH), with_hole()]
    output = write_dataset(tmp_path, data_format, {"b.png": [(0, masks[0]), (5, masks[1])], "a.png": [(3, masks[1])]})
    coco = COCO(str(output / COCO_INDEX))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["a.png", "b.png"]
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    [picture] = [image for image in coco.loadImgs(coco.getImgIds()) if image["file_name"] == "b.png"]
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[picture["id"]]))
    for annotation, mask, number in zip(annotations, masks, (0, 5), strict=True):
        assert isinstance(annotation["segmentation"], list) == (data_format == "coco-polygons")
        assert np.array_equal(coco.annToMask(annotation).astype(bool), over_frame(mask))
        assert annotation["category_id"] == number + 1
        assert annotation["area"] == mask.area
        assert annotation["bbox"] == [mask.x, mask.y, mask.width, mask.height]
        assert annotation["iscrowd"] == 0
        assert annotation["score"] == detection(number).confidence
    assert sorted(coco.getAnnIds()) == [1, 2, 3]


def test_classes_of_coco_have_its_ids_also_when_pictures_are_added(tmp_path: Path) -> None:
    for names in (["b.png"], ["a.png", "b.png"]):
        with open_dataset(tmp_path / "out", settings_of("coco"), restart=False) as dataset:
            for name in names:
                picture = PictureFile(write_picture(tmp_path / name, HEIGHT, WIDTH))
                if not dataset.has(picture):
                    dataset.begin(COCO_CLASSES)
                    dog = Detection(xyxy=(0, 0, 9, 9), confidence=0.5, class_id=16, class_name="dog")
                    labelled = (LabelledObject(dog, disc(1, HEIGHT, WIDTH)),)
                    dataset.add(picture, LabelledPicture(name, WIDTH, HEIGHT, labelled))
            dataset.finish()
    file = json.loads((tmp_path / "out" / COCO_INDEX).read_bytes())
    assert [one["category_id"] for one in file["annotations"]] == [18, 18]
    assert {one["name"]: one["id"] for one in file["categories"]}["dog"] == 18


def test_yolo_lines_are_shares_of_the_picture(tmp_path: Path) -> None:
    output = write_dataset(tmp_path, "yolo", {"picture.png": [(2, with_hole()), (0, disc(0, HEIGHT, WIDTH))]})
    lines = (output / "labels" / "picture.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["2", "0"]
    for line, mask in zip(lines, (with_hole(), disc(0, HEIGHT, WIDTH)), strict=True):
        shares = np.array(line.split()[1:], np.float64).reshape(-1, 2)
        assert ((shares >= 0) & (shares < 1)).all()
        canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.fillPoly(canvas, [(shares * (WIDTH, HEIGHT)).astype(np.int32)], 1)
        assert np.array_equal(canvas > 0, over_frame(mask))
    index = yaml.safe_load((output / "data.yaml").read_text())
    assert index == {"train": "images", "val": "images", "names": dict(enumerate(CLASSES))}
    assert (output / "classes.txt").read_text().splitlines() == list(CLASSES)


def test_anylabeling_groups_the_parts_of_one_object(tmp_path: Path) -> None:
    output = write_dataset(tmp_path, "anylabeling", {"picture.png": [(2, with_hole_and_parts()), (1, with_hole())]})
    file = json.loads((output / "images" / "picture.json").read_bytes())
    assert (file["imagePath"], file["imageData"], file["imageHeight"], file["imageWidth"]) == (
        "picture.png",
        None,
        HEIGHT,
        WIDTH,
    )
    assert file["flags"] == {} and isinstance(file["version"], str)
    assert [(shape["label"], shape["group_id"]) for shape in file["shapes"]] == [("cat", 0)] * 3 + [("bee", None)]
    for shape in file["shapes"]:
        assert shape["shape_type"] == "polygon"
        assert len(shape["points"]) >= 3
        assert shape["score"] == detection(CLASSES.index(shape["label"])).confidence
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    for shape in file["shapes"][:3]:
        cv2.fillPoly(canvas, [np.array(shape["points"]).astype(np.int32)], 1)
    canvas[HEIGHT - 1, WIDTH - 1] = 1  # a speck
    assert np.array_equal(canvas > 0, over_frame(with_hole_and_parts()))


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(UsageError, match="voc is unknown; expected one of yolo, coco, coco-polygons, anylabeling"):
        create_format("voc")
