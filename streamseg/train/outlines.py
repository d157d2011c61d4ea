"""Reads outlines of objects from a COCO file, and its photographs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from pycocotools import mask as coco_masks

from streamseg.errors import DataError
from streamseg.images import read_image
from streamseg.masks import Mask
from streamseg.messages import Image

_SMALLEST_SIDE = 12
"""Of an object, in pixels; smaller outlines are too coarse for training."""
_FARTHEST = 2
"""Largest coordinate of a corner, in longer sides of the picture: pycocotools needs memory for each pixel up to it."""
_HELD_OUT = 5
"""Every fifth photograph is held out for measuring."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """A file, its size in pixels, and the masks of its objects."""

    path: Path
    width: int
    height: int
    masks: tuple[Mask, ...]

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


class _Picture(msgspec.Struct):
    id: int
    file_name: str
    height: int
    width: int


class _Annotation(msgspec.Struct):
    image_id: int
    segmentation: Any
    iscrowd: int = 0


class _Coco(msgspec.Struct):
    images: list[_Picture]
    annotations: list[_Annotation]


def read_outlines(annotations: Path, images: Path) -> list[Photograph]:
    """Read all photographs with a usable outline, in the order of their ids; crowds are skipped.

    Args:
        annotations: In COCO's format for instances: polygons or run lengths.
        images: The folder of the photographs.

    Raises:
        DataError: The file is not COCO's, names a missing photograph, or has no outlines.
    """
    try:
        coco = msgspec.json.decode(annotations.read_bytes(), type=_Coco)
    except OSError as error:
        raise DataError(f"{annotations}: {error.strerror}; give a COCO file of instances") from error
    except msgspec.MsgspecError as error:
        raise DataError(f"{annotations} is not a COCO file of instances: {error}") from error
    of_picture: defaultdict[int, list[_Annotation]] = defaultdict(list)
    for annotation in coco.annotations:
        if not annotation.iscrowd:
            of_picture[annotation.image_id].append(annotation)
    photographs = []
    for picture in sorted(coco.images, key=lambda picture: picture.id):
        masks = [_mask(annotation, picture, annotations) for annotation in of_picture[picture.id]]
        usable = tuple(mask for mask in masks if mask is not None and min(mask.width, mask.height) >= _SMALLEST_SIDE)
        path = images / picture.file_name
        if usable and not path.is_file():
            raise DataError(f"{path}: no such file, but {annotations} names it; give its folder with --images")
        if usable:
            photographs.append(Photograph(path, picture.width, picture.height, usable))
    if not photographs:
        raise DataError(f"{annotations} holds no outline of an object of {_SMALLEST_SIDE} pixels or more")
    return photographs


def hold_out(photographs: list[Photograph]) -> tuple[list[Photograph], list[Photograph]]:
    """Photographs for training, and every fifth one for measuring."""
    held_out = photographs[_HELD_OUT - 1 :: _HELD_OUT]
    return [photograph for place, photograph in enumerate(photographs) if place % _HELD_OUT != _HELD_OUT - 1], held_out


def _mask(annotation: _Annotation, picture: _Picture, file: Path) -> Mask | None:
    if annotation.segmentation == []:
        return None
    try:
        runs = _runs(annotation.segmentation, picture.height, picture.width)
    except Exception as error:
        raise DataError(
            f"{file}: an outline of {picture.file_name} is neither polygons nor run lengths ({error})"
        ) from error
    return Mask.crop(coco_masks.decode(runs))


def _runs(segmentation: Any, height: int, width: int) -> Any:
    """Polygons or run lengths as pycocotools decodes them; raises any exception for bad ones."""
    if isinstance(segmentation, list):
        if max(abs(number) for polygon in segmentation for number in polygon) > _FARTHEST * max(height, width):
            raise ValueError("a corner lies far outside the picture")
        return coco_masks.merge(coco_masks.frPyObjects(segmentation, height, width))
    counts = segmentation["counts"]
    lengths = counts if isinstance(counts, list) else _lengths(counts.encode())
    # pycocotools decodes run lengths that end early to uninitialised memory.
    if min(lengths) < 0 or sum(lengths) != height * width or list(segmentation["size"]) != [height, width]:
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
