"""COCO's format: one JSON file for all pictures. Its run-length encoding preserves every mask, with holes and parts."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from streamseg.annotate.labelling import IMAGES, Format, LabelledObject, LabelledPicture
from streamseg.atomic import write_atomically
from streamseg.errors import UsageError
from streamseg.masks import CocoRle

_INDEX: Final = "annotations.json"
_PARTS: Final = ".parts"
"""Folder with a file for each picture until all are labelled."""


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: int
    height: int


class _Annotation(msgspec.Struct):
    """One object: `bbox` is left, top, width and height of the mask, `area` its pixels, in pixels of the picture."""

    id: int
    image_id: int
    category_id: int
    segmentation: CocoRle
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
    """One picture with its objects; `finish` numbers them."""

    image: _Image
    annotations: list[_Annotation]


class _File(msgspec.Struct):
    info: _Info
    licenses: list[str]
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


class CocoFormat(Format):
    """`annotations.json`, collected in `.parts/` until all pictures are labelled."""

    folder = _PARTS
    suffix = ".json"

    def encode(self, picture: LabelledPicture) -> bytes:
        """A picture with its objects, not yet numbered."""
        image = _Image(0, picture.name, picture.width, picture.height)
        return msgspec.json.encode(_Part(image, [_annotation(labelled, picture) for labelled in picture.objects]))

    def indexed(self, directory: Path) -> frozenset[str]:
        """The pictures in `annotations.json`."""
        index = directory / _INDEX
        return frozenset(image.file_name for image in _read(index).images) if index.exists() else frozenset()

    def finish(self, directory: Path, classes: Sequence[str]) -> None:
        """Number the pictures in `images/` by name, and write `annotations.json` if pictures were added or removed."""
        index, folder = directory / _INDEX, directory / _PARTS
        before = _split(_read(index)) if index.exists() else []
        added = [msgspec.json.decode(path.read_bytes(), type=_Part) for path in folder.glob(f"*{self.suffix}")]
        parts = {part.image.file_name: part for part in (*before, *added)}
        names = sorted(name for name in parts if (directory / IMAGES / name).exists())
        if added or len(names) < len(before) or not index.exists():
            file = _join((parts[name] for name in names), classes)
            write_atomically(index, msgspec.json.encode(file) + b"\n")
        if folder.exists():
            shutil.rmtree(folder)

    def remove_index(self, directory: Path) -> None:
        """Remove `annotations.json`."""
        (directory / _INDEX).unlink(missing_ok=True)


def _annotation(labelled: LabelledObject, picture: LabelledPicture) -> _Annotation:
    mask, detection = labelled.mask, labelled.detection
    return _Annotation(
        id=0,
        image_id=0,
        category_id=detection.class_id + 1,
        segmentation=mask.rle(picture.height, picture.width),
        area=mask.area,
        bbox=(mask.x, mask.y, mask.width, mask.height),
        iscrowd=0,
        score=detection.confidence,
    )


def _read(index: Path) -> _File:
    try:
        return msgspec.json.decode(index.read_bytes(), type=_File)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{index} is not as streamseg wrote it ({error}); name another folder") from error


def _split(file: _File) -> list[_Part]:
    parts = {image.id: _Part(image, []) for image in file.images}
    for annotation in file.annotations:
        parts[annotation.image_id].annotations.append(annotation)
    return list(parts.values())


def _join(parts: Iterable[_Part], classes: Sequence[str]) -> _File:
    categories = [_Category(number, name) for number, name in enumerate(classes, start=1)]
    file = _File(_Info(), [], [], [], categories)
    numbers = count(1)
    for image_id, part in enumerate(parts, start=1):
        file.images.append(msgspec.structs.replace(part.image, id=image_id))
        file.annotations += [
            msgspec.structs.replace(one, id=next(numbers), image_id=image_id) for one in part.annotations
        ]
    return file
