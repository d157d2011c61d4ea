"""A COCO file of instances as tools write it: what can be used of it, and what is left out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from pycocotools import mask as coco_masks

from streamseg.errors import DataError
from streamseg.geometry import Box
from streamseg.masks import Mask

_FARTHEST: Final = 2
"""Largest coordinate of a corner, in longer sides of the picture: pycocotools needs memory for each pixel up to it."""
_FEWEST_NUMBERS: Final = 6
"""Of a polygon: three corners; fewer have no area."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

Number: TypeAlias = int | float
Id: TypeAlias = int | float | str


class CocoPicture(msgspec.Struct, frozen=True):
    """A photograph.

    Attributes:
        id: Its id.
        file_name: Its name, perhaps with folders.
        height: In pixels.
        width: In pixels.
        exhaustive: Which classes are labelled completely; None for all.
        source: A name for where it is from; other tools may put anything here.
    """

    id: Id
    file_name: str
    height: Number
    width: Number
    exhaustive: str | tuple[str, ...] | None = None
    source: Any = None

    def is_complete(self, classes: Collection[str]) -> bool:
        """Whether every object of these classes is labelled."""
        return self.exhaustive in (None, "all") or set(classes) <= set(self.exhaustive or ())

    def find(self, folder: Path) -> Path | None:
        """The file in a folder, under its whole name or under the name's last part; None if it is missing."""
        names = (self.file_name, re.split(r"[/\\]", self.file_name)[-1])
        return next((path for path in (folder / name for name in names) if path.is_file()), None)


class CocoAnnotation(msgspec.Struct, frozen=True):
    """An object: `segmentation` holds polygons, or run lengths; a crowd is a region with many objects.

    `bbox` is left, top, width, height.
    """

    image_id: Id
    id: Id | None = None
    category_id: Id | None = None
    bbox: Any = None
    segmentation: Any = None
    iscrowd: bool | Number | None = None

    def mask(self, picture: CocoPicture) -> Mask | None:
        """The mask in its picture; None without an area.

        Raises:
            ValueError: The outline is neither polygons nor run lengths of its picture.
        """
        if not self.segmentation:
            return None
        height, width = int(picture.height), int(picture.width)
        try:
            if isinstance(self.segmentation, list):
                polygons = _polygons(self.segmentation, _FARTHEST * max(height, width))
                runs = coco_masks.merge(coco_masks.frPyObjects(polygons, height, width)) if polygons else None
            else:
                runs = _runs(msgspec.convert(self.segmentation, _RunLengths), height, width)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error
        return None if runs is None else Mask.crop(coco_masks.decode(runs))

    def box(self, picture: CocoPicture) -> Box | None:
        """Left, top, right, bottom within the picture; None without an area.

        Raises:
            ValueError: It is not four numbers.
        """
        if not self.bbox:
            return None
        try:
            left, top, width, height = msgspec.convert(self.bbox, tuple[float, float, float, float])
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error
        right, bottom = min(left + width, picture.width), min(top + height, picture.height)
        left, top = max(left, 0.0), max(top, 0.0)
        return (left, top, right, bottom) if left < right and top < bottom else None


class _RunLengths(msgspec.Struct):
    counts: list[int] | str
    size: list[int]


class _Category(msgspec.Struct):
    id: Id
    name: str


class _Coco(msgspec.Struct):
    images: list[CocoPicture]
    annotations: list[msgspec.Raw]
    categories: list[_Category] = []


@dataclass(slots=True)
class LeftOut:
    """Counts annotations that are left out, for each reason, with the name of the first."""

    _counts: dict[str, int] = field(default_factory=dict)
    _first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, annotation: str, detail: str = "") -> None:
        """Count one; `detail` says more about the first."""
        self._first.setdefault(reason, f"{annotation} ({detail})" if detail else annotation)
        self._counts[reason] = self._counts.get(reason, 0) + 1

    def lines(self) -> list[str]:
        """A line for each reason, such as `left out: 3 annotations without an outline, the first is id 7`."""
        return [
            f"left out: {count} {'annotation' if count == 1 else 'annotations'} {reason},"
            f" the first is {self._first[reason]}"
            for reason, count in self._counts.items()
        ]


@dataclass(frozen=True, slots=True)
class CocoFile:
    """The photographs in the order of their ids, each with the annotations that may be used, and their names.

    `categories` has the names of the classes by their ids, in the file's order.
    """

    categories: dict[Id, str]
    pictures: list[tuple[CocoPicture, list[tuple[str, CocoAnnotation]]]]
    crowds_taken: bool


def read_coco(path: Path, left_out: LeftOut, *, outlines: bool = True) -> CocoFile:
    """Read a file, for its outlines or for its boxes.

    Crowds are left out. But if each outline or box belongs to one, they are taken: some tools mark all masks as crowds.

    Raises:
        DataError: The file cannot be read, or is not COCO's.
    """
    coco = _decode(path)
    pictures: dict[Id, CocoPicture] = {}
    shared: set[Id] = set()
    for picture in coco.images:
        if pictures.setdefault(picture.id, picture) != picture:
            shared.add(picture.id)
    found: list[tuple[str, CocoAnnotation]] = []
    seen: set[tuple[Id, bytes]] = set()
    for place, raw in enumerate(coco.annotations, start=1):
        name = f"number {place} in the file"
        try:
            annotation = msgspec.json.decode(raw, type=CocoAnnotation)
        except msgspec.ValidationError as error:
            left_out.add("not as in COCO", name, str(error))
            continue
        key = (annotation.id, bytes(raw)) if annotation.id is not None else None
        name = name if annotation.id is None else f"id {annotation.id}"
        if annotation.image_id not in pictures:
            left_out.add("of no picture in the file", name)
        elif annotation.image_id in shared:
            left_out.add("of a picture id that several files share", name)
        elif key in seen:
            left_out.add("given twice", name)
        else:
            found.append((name, annotation))
        if key is not None:
            seen.add(key)
    needed = [one for _, one in found if (one.segmentation if outlines else one.bbox)]
    crowds_taken = all(one.iscrowd for one in needed)
    of_picture: defaultdict[Id, list[tuple[str, CocoAnnotation]]] = defaultdict(list)
    for name, annotation in found:
        if annotation.iscrowd and not crowds_taken:
            left_out.add("marked as crowds (if each is one object, write iscrowd: 0)", name)
        else:
            of_picture[annotation.image_id].append((name, annotation))
    ordered = sorted(pictures.values(), key=lambda picture: (isinstance(picture.id, str), picture.id))
    categories = {category.id: category.name for category in coco.categories}
    return CocoFile(
        categories, [(picture, of_picture[picture.id]) for picture in ordered], crowds_taken and bool(needed)
    )


def _decode(path: Path) -> _Coco:
    try:
        return msgspec.json.decode(path.read_bytes().removeprefix(_BYTE_ORDER_MARK), type=_Coco)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; give a COCO file of instances") from error
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} is not a COCO file of instances: {error}") from error


def _polygons(segmentation: list[Any], farthest: float) -> list[list[float]]:
    """The polygons that have an area; a list of numbers is one."""
    flat = isinstance(segmentation[0], int | float)
    polygons = [
        polygon
        for polygon in msgspec.convert([segmentation] if flat else segmentation, list[list[float]])
        if len(polygon) >= _FEWEST_NUMBERS
    ]
    for polygon in polygons:
        if len(polygon) % 2:
            raise ValueError("a polygon has an x without a y")
        if max(map(abs, polygon)) > farthest:
            raise ValueError("a corner lies far outside the picture")
    return polygons


def _runs(given: _RunLengths, height: int, width: int) -> Any:
    """Run lengths as pycocotools decodes them."""
    lengths = given.counts if isinstance(given.counts, list) else _lengths(given.counts.encode())
    # pycocotools decodes run lengths that end early to uninitialised memory.
    if not lengths or min(lengths) < 0 or sum(lengths) != height * width or given.size != [height, width]:
        raise ValueError(f"run lengths that do not fill {width}x{height} pixels")
    return coco_masks.frPyObjects({"counts": lengths, "size": [height, width]}, height, width)


def _lengths(counts: bytes) -> list[int]:
    """Run lengths from COCO's text: five bits per character, low ones first, as differences to the one two before."""
    lengths: list[int] = []
    value = shift = 0
    for character in counts:
        bits = character - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        value -= (1 << shift) if bits & 16 else 0
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths
