"""Formats of data sets: for each picture a label file, and in the end perhaps a file about all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

import msgspec
import numpy as np
import yaml

from streamseg.annotate.coco import CocoFormat
from streamseg.annotate.labelling import IMAGES, LabelledObject, LabelledPicture
from streamseg.annotate.outlines import WITHIN_PIXEL, outline, part_outlines
from streamseg.atomic import write_atomically
from streamseg.errors import UsageError

_YOLO_INDEX: Final = "data.yaml"


class YoloFormat:
    """`labels/NAME.txt` beside `images/`, and `data.yaml` with the classes."""

    folder = "labels"
    suffix = ".txt"

    def encode(self, picture: LabelledPicture) -> bytes:
        """A line for each object, its holes and parts joined into one polygon."""
        return encode_yolo(picture)

    def finished(self, directory: Path) -> frozenset[str]:
        """None: the label files stay."""
        return frozenset()

    def finish(self, directory: Path, classes: Sequence[str]) -> None:
        """Write `data.yaml`. It names no path: its readers then take the folder that it lies in."""
        index = directory / _YOLO_INDEX
        if not index.exists():
            content = {"train": IMAGES, "val": IMAGES, "names": dict(enumerate(classes))}
            write_atomically(index, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())

    def withdraw(self, directory: Path) -> None:
        """Remove `data.yaml`."""
        (directory / _YOLO_INDEX).unlink(missing_ok=True)


def encode_yolo(picture: LabelledPicture) -> bytes:
    """The label file of a picture; empty where it has no objects."""
    size = np.array([picture.width, picture.height])
    lines = []
    for labelled in picture.objects:
        # Seven decimals keep the pixel in pictures of any size.
        shares = ((outline(labelled.mask) + WITHIN_PIXEL) / size).ravel().tolist()
        lines.append(f"{labelled.detection.class_id} {' '.join(f'{share:.7f}' for share in shares)}\n")
    return "".join(lines).encode()


_VERSION: Final = "0.3.3"
"""Of AnyLabeling, whose files these resemble."""


class _Shape(msgspec.Struct, kw_only=True):
    """One polygon; those of one object have the same `group_id`."""

    label: str
    text: str = ""
    points: list[tuple[float, float]]
    group_id: int | None
    shape_type: str = "polygon"
    flags: dict[str, bool] = {}


class _File(msgspec.Struct, kw_only=True, rename="camel"):
    """The file of a picture."""

    version: str = _VERSION
    flags: dict[str, bool] = {}
    shapes: list[_Shape]
    image_path: str
    image_data: None = None
    image_height: int
    image_width: int
    text: str = ""


class AnyLabelingFormat:
    """`images/NAME.json` beside each picture."""

    folder = IMAGES
    suffix = ".json"

    def encode(self, picture: LabelledPicture) -> bytes:
        """A polygon for each part of each object, holes joined into it."""
        shapes = [shape for number, labelled in enumerate(picture.objects) for shape in _shapes(labelled, number)]
        file = _File(shapes=shapes, image_path=picture.name, image_height=picture.height, image_width=picture.width)
        return msgspec.json.encode(file) + b"\n"

    def finished(self, directory: Path) -> frozenset[str]:
        """None: the label files stay."""
        return frozenset()

    def finish(self, directory: Path, classes: Sequence[str]) -> None:
        """Nothing: the label files name their classes."""

    def withdraw(self, directory: Path) -> None:
        """Nothing."""


def _shapes(labelled: LabelledObject, number: int) -> Iterator[_Shape]:
    parts = part_outlines(labelled.mask)
    for part in parts:
        points = [(x + WITHIN_PIXEL, y + WITHIN_PIXEL) for x, y in part.tolist()]
        yield _Shape(label=labelled.detection.class_name, points=points, group_id=number if len(parts) > 1 else None)


class Format(Protocol):
    """How labels are written. A picture whose label file is there is done.

    Attributes:
        folder: Where in the data set the label files lie.
        suffix: What takes the place of the picture's ending in the name of its label file.
    """

    folder: str
    suffix: str

    def encode(self, picture: LabelledPicture) -> bytes:
        """The label file of a picture, also of one without objects."""
        ...

    def finished(self, directory: Path) -> frozenset[str]:
        """Names of pictures that are done though their label files are gone."""
        ...

    def finish(self, directory: Path, classes: Sequence[str]) -> None:
        """Write what is about all pictures; called with all of them done, and again when more have been."""
        ...

    def withdraw(self, directory: Path) -> None:
        """Remove what `finish` wrote."""
        ...


FORMATS: Final = MappingProxyType[str, type[Format]](
    {"yolo": YoloFormat, "coco": CocoFormat, "anylabeling": AnyLabelingFormat}
)
"""Each by its name."""


def create_format(name: str) -> Format:
    """The format of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in FORMATS:
        raise UsageError(f"--format {name} is unknown; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]()
