"""COCO's format: one JSON file for all pictures, with each mask as run lengths or as polygons."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import cv2
import msgspec
import numpy as np
from msgspec.structs import replace

from streamseg.annotate.labelling import IMAGES, SMALLEST_PART, Format, LabelledObject, LabelledPicture
from streamseg.atomic import unfinished, write_atomically
from streamseg.categories import category_ids
from streamseg.errors import UsageError
from streamseg.masks import CocoRle, Mask
from streamseg.rings import AROUND_CENTRES

_INDEX: Final = "annotations/instances_default.json"
"""Where datumaro and CVAT, which name a file after its part of the data, find it beside `images`."""
_PARTS: Final = ".parts"
"""Folder with a file for each picture until all are labelled."""


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: int
    height: int


class _Annotation(msgspec.Struct):
    """One object: `bbox` is left, top, width and height of the segmentation, `area` its pixels; all in pixels."""

    id: int
    image_id: int
    category_id: int
    segmentation: CocoRle | list[list[float]]
    area: int
    bbox: tuple[int, int, int, int]
    iscrowd: int
    score: float


class _Category(msgspec.Struct):
    id: int
    name: str
    supercategory: str = ""


class _Info(msgspec.Struct):
    description: str = "annotated by streamseg"


class _Part(msgspec.Struct):
    """One picture with its objects, whose `category_id` is still the number of the class; `finish` numbers them."""

    image: _Image
    annotations: list[_Annotation]


class _File(msgspec.Struct):
    info: _Info
    licenses: list[str]
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


class CocoFormat(Format):
    """`annotations/instances_default.json`, collected in `.parts/` until all pictures are labelled.

    Args:
        polygons: Whether masks are polygons instead of run lengths.
    """

    folder = _PARTS
    suffix = ".json"

    def __init__(self, *, polygons: bool = False) -> None:
        self._polygons = polygons

    def encode(self, picture: LabelledPicture) -> bytes:
        """A picture with its objects, not yet numbered."""
        image = _Image(0, picture.name, picture.width, picture.height)
        annotations = [self._annotation(labelled, picture) for labelled in picture.objects]
        return msgspec.json.encode(_Part(image, annotations))

    def indexed(self, directory: Path) -> frozenset[str]:
        """The pictures in the index."""
        index = directory / _INDEX
        return frozenset(image.file_name for image in _read(index).images) if index.exists() else frozenset()

    def finish(self, directory: Path, classes: Sequence[str]) -> None:
        """Number the pictures in `images/` by name, and write the index if pictures were added or removed."""
        index, folder = directory / _INDEX, directory / _PARTS
        before = _split(_read(index)) if index.exists() else []
        added = [msgspec.json.decode(path.read_bytes(), type=_Part) for path in folder.glob(f"*{self.suffix}")]
        parts = {part.image.file_name: part for part in (*before, *added)}
        names = sorted(name for name in parts if (directory / IMAGES / name).exists())
        if added or len(names) < len(before) or not index.exists():
            file = _join((parts[name] for name in names), classes)
            index.parent.mkdir(exist_ok=True)
            write_atomically(index, msgspec.json.encode(file) + b"\n")
        unfinished(index).unlink(missing_ok=True)
        if folder.exists():
            shutil.rmtree(folder)

    def remove_index(self, directory: Path) -> None:
        """Remove the index, and its folder if that is empty then."""
        index = directory / _INDEX
        index.unlink(missing_ok=True)
        if index.parent.exists() and not any(index.parent.iterdir()):
            index.parent.rmdir()

    def _annotation(self, labelled: LabelledObject, picture: LabelledPicture) -> _Annotation:
        detection = labelled.detection
        mask = _without_specks(labelled.mask) if self._polygons else labelled.mask
        return _Annotation(
            id=0,
            image_id=0,
            category_id=detection.class_id,
            segmentation=self._segmentation(mask, picture),
            area=mask.area,
            bbox=(mask.x, mask.y, mask.width, mask.height),
            iscrowd=0,
            score=detection.confidence,
        )

    def _segmentation(self, mask: Mask, picture: LabelledPicture) -> CocoRle | list[list[float]]:
        if not self._polygons:
            return mask.rle(picture.height, picture.width)
        polygons = mask.polygons_without_holes(AROUND_CENTRES, SMALLEST_PART)
        return [polygon.ravel().tolist() for polygon in polygons]


def _without_specks(mask: Mask) -> Mask:
    """The parts of a mask that its polygons show."""
    _, parts, figures, _ = cv2.connectedComponentsWithStats(mask.bits.view(np.uint8), connectivity=4)
    sizes = figures[:, cv2.CC_STAT_AREA]
    shown = sizes >= SMALLEST_PART
    shown[0] = False  # the background
    shown[1 + sizes[1:].argmax()] = True
    kept = Mask.crop(shown[parts], mask.x, mask.y)
    assert kept is not None
    return kept


def _read(index: Path) -> _File:
    try:
        return msgspec.json.decode(index.read_bytes(), type=_File)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{index} is not as streamseg wrote it ({error}); name another folder") from error


def _split(file: _File) -> list[_Part]:
    numbers = {category.id: number for number, category in enumerate(file.categories)}
    parts = {image.id: _Part(image, []) for image in file.images}
    for annotation in file.annotations:
        numbered = replace(annotation, category_id=numbers[annotation.category_id])
        parts[annotation.image_id].annotations.append(numbered)
    return list(parts.values())


def _join(parts: Iterable[_Part], classes: Sequence[str]) -> _File:
    ids = category_ids(classes)
    file = _File(_Info(), [], [], [], [_Category(number, name) for number, name in zip(ids, classes, strict=True)])
    numbers = count(1)
    for image_id, part in enumerate(parts, start=1):
        file.images.append(replace(part.image, id=image_id))
        file.annotations += [
            replace(one, id=next(numbers), image_id=image_id, category_id=ids[one.category_id])
            for one in part.annotations
        ]
    return file
