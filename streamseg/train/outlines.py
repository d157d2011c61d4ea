"""Reads outlines of objects from a COCO file, and its photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from streamseg.errors import DataError
from streamseg.images import read_image
from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.train.coco_file import CocoAnnotation, CocoPicture, LeftOut, read_coco

_SMALLEST_SIDE = 12
"""Of an object, in pixels; smaller outlines are too coarse for training."""
_HELD_OUT = 5
"""Every fifth photograph is held out for measuring."""

_Photograph = TypeVar("_Photograph")


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph and its objects.

    Attributes:
        path: The file.
        width: In pixels.
        height: In pixels.
        masks: Of its objects.
        classes: Name of the class of each; empty if the file names none.
        source: Where it is from, by the file; empty if the file names none.
    """

    path: Path
    width: int
    height: int
    masks: tuple[Mask, ...]
    classes: tuple[str, ...]
    source: str = ""

    def read(self) -> Image:
        """The picture: shape (height, width, 3), uint8, BGR.

        Raises:
            SourceError: The file is no picture.
            DataError: Its size differs from the COCO file's.
        """
        image = read_image(self.path)
        if image.shape[:2] != (self.height, self.width):
            raise DataError(
                f"{self.path} has {image.shape[1]}x{image.shape[0]} pixels,"
                f" but its outlines were drawn on {self.width}x{self.height}; "
                "give the photographs that belong to the COCO file"
            )
        return image


@dataclass(frozen=True, slots=True)
class Outlines:
    """The photographs of a COCO file that have a usable outline, in the order of their ids.

    Attributes:
        photographs: At least one.
        notes: A line for each kind of annotation that is left out, with its number and the name of the first one.
    """

    photographs: list[Photograph]
    notes: list[str]


def read_outlines(annotations: Path, images: Path) -> Outlines:
    """Read what can be used of a COCO file, as other tools write it too.

    Args:
        annotations: In COCO's format for instances: polygons or run lengths.
        images: The folder of the photographs.

    Raises:
        DataError: The file is not COCO's, no photograph is there, or none has an outline.
    """
    left_out = LeftOut()
    coco = read_coco(annotations, left_out)
    photographs = []
    missing = ""
    for picture, objects in coco.pictures:
        usable = [
            (name, mask, "" if one.category_id is None else coco.categories.get(one.category_id, ""))
            for name, one in objects
            if (mask := _usable(name, one, picture, left_out)) is not None
        ]
        path = picture.find(images)
        if path is not None and usable:
            size = int(picture.width), int(picture.height)
            masks, classes = (tuple(column) for column in list(zip(*usable, strict=True))[1:])
            source = picture.source if isinstance(picture.source, str) else ""
            photographs.append(Photograph(path, *size, masks, classes, source))
        elif usable:
            missing = missing or picture.file_name
            for name, *_ in usable:
                left_out.add("of a photograph that is missing", name)
    notes = left_out.lines()
    if coco.crowds_taken:
        notes.insert(0, "every outline is marked as a crowd, so each is taken as one object")
    if not photographs and missing:
        raise DataError(f"{images / missing}: no such file, but {annotations} names it; give its folder with --images")
    if not photographs:
        text = f"{annotations} holds no outline of an object of {_SMALLEST_SIDE} pixels or more"
        raise DataError("; ".join((text, *notes)))
    return Outlines(photographs, notes)


def hold_out(photographs: list[_Photograph]) -> tuple[list[_Photograph], list[_Photograph]]:
    """Photographs for training, and every fifth one for measuring."""
    held_out = photographs[_HELD_OUT - 1 :: _HELD_OUT]
    return [photograph for place, photograph in enumerate(photographs) if place % _HELD_OUT != _HELD_OUT - 1], held_out


def _usable(name: str, annotation: CocoAnnotation, picture: CocoPicture, left_out: LeftOut) -> Mask | None:
    """The mask of an object that is large enough; counts the others."""
    try:
        mask = annotation.mask(picture)
    except ValueError as error:
        left_out.add("whose outline is neither polygons nor run lengths of its picture", name, str(error))
        return None
    if mask is None:
        left_out.add("without an outline", name)
    elif min(mask.width, mask.height) < _SMALLEST_SIDE:
        left_out.add(f"smaller than {_SMALLEST_SIDE} pixels", name)
    else:
        return mask
    return None
