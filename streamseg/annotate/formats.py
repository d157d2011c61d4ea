"""Label formats of data sets; COCO's has a module of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np
import yaml

from streamseg.annotate.coco import CocoFormat
from streamseg.annotate.labelling import IMAGES, Format, LabelledObject, LabelledPicture
from streamseg.annotate.outlines import WITHIN_PIXEL, outline, part_outlines
from streamseg.atomic import write_atomically
from streamseg.errors import UsageError

_CLASSES_FILE: Final = "data.yaml"
_ANYLABELING_VERSION: Final = "0.3.3"


class YoloFormat(Format):
    """YOLO segmentation: `labels/NAME.txt` beside `images/`, and `data.yaml` with the classes.

    A line holds the number of the class and one polygon, x and y as shares of the picture's width and height.
    """

    folder = "labels"
    suffix = ".txt"

    def encode(self, picture: LabelledPicture) -> bytes:
        """A line for each object; its holes and parts are joined into one polygon."""
        return encode_yolo(picture)

    def finish(self, directory: Path, classes: Sequence[str]) -> None:
        """Write `data.yaml`. It names no path, so readers use its folder."""
        index = directory / _CLASSES_FILE
        if not index.exists():
            content = {"train": IMAGES, "val": IMAGES, "names": dict(enumerate(classes))}
            write_atomically(index, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())

    def remove_index(self, directory: Path) -> None:
        """Remove `data.yaml`."""
        (directory / _CLASSES_FILE).unlink(missing_ok=True)


def encode_yolo(picture: LabelledPicture) -> bytes:
    """The label file of a picture; empty without objects."""
    size = np.array([picture.width, picture.height])
    lines = []
    for labelled in picture.objects:
        # Seven decimals identify the pixel in pictures of any size.
        shares = ((outline(labelled.mask) + WITHIN_PIXEL) / size).ravel().tolist()
        lines.append(f"{labelled.detection.class_id} {' '.join(f'{share:.7f}' for share in shares)}\n")
    return "".join(lines).encode()


class _Shape(msgspec.Struct, kw_only=True):
    """One polygon; those of one object have the same `group_id`."""

    label: str
    text: str = ""
    points: list[tuple[float, float]]
    group_id: int | None
    shape_type: str = "polygon"
    flags: dict[str, bool] = {}


class _File(msgspec.Struct, kw_only=True, rename="camel"):
    """The label file of a picture."""

    version: str = _ANYLABELING_VERSION
    flags: dict[str, bool] = {}
    shapes: list[_Shape]
    image_path: str
    image_data: None = None
    image_height: int
    image_width: int
    text: str = ""


class AnyLabelingFormat(Format):
    """AnyLabeling's format, which is LabelMe's: `images/NAME.json` beside each picture, with polygons in pixels."""

    folder = IMAGES
    suffix = ".json"

    def encode(self, picture: LabelledPicture) -> bytes:
        """A polygon for each part of each object, its holes joined to it."""
        shapes = [shape for number, labelled in enumerate(picture.objects) for shape in _shapes(labelled, number)]
        file = _File(shapes=shapes, image_path=picture.name, image_height=picture.height, image_width=picture.width)
        return msgspec.json.encode(file) + b"\n"


def _shapes(labelled: LabelledObject, number: int) -> Iterator[_Shape]:
    parts = part_outlines(labelled.mask)
    for part in parts:
        points = [(x + WITHIN_PIXEL, y + WITHIN_PIXEL) for x, y in part.tolist()]
        yield _Shape(label=labelled.detection.class_name, points=points, group_id=number if len(parts) > 1 else None)


FORMATS: Final = MappingProxyType[str, Callable[[], Format]](
    {"yolo": YoloFormat, "coco": CocoFormat, "anylabeling": AnyLabelingFormat}
)
"""Formats by name."""


def create_format(name: str) -> Format:
    """The format of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in FORMATS:
        raise UsageError(f"--format {name} is unknown; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]()
