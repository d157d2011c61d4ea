"""Label formats of data sets; COCO's has a module of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np
import yaml

from streamseg.annotate.coco import CocoFormat
from streamseg.annotate.labelling import IMAGES, SMALLEST_PART, Format, LabelledObject, LabelledPicture
from streamseg.annotate.outlines import WITHIN_PIXEL, outline
from streamseg.atomic import write_atomically
from streamseg.errors import UsageError
from streamseg.rings import TO_ROUND
from streamseg.spelling import suggestion

_INDEX: Final = "data.yaml"
_NAMES: Final = "classes.txt"
_ANYLABELING_VERSION: Final = "0.3.3"


class YoloFormat(Format):
    """YOLO segmentation: `labels/NAME.txt` beside `images/`, and `data.yaml` with the classes.

    `classes.txt` names them once more, one a line, for tools that read nothing else. A line of a label file holds the
    number of the class and one polygon, x and y as shares of the picture's width and height.
    """

    folder = "labels"
    suffix = ".txt"

    def encode(self, picture: LabelledPicture) -> bytes:
        """A line for each object; its holes and parts are joined into one polygon."""
        return encode_yolo(picture)

    def finish(self, directory: Path, classes: Sequence[str]) -> None:
        """Write `data.yaml`, which names no path, so that readers use its folder, and `classes.txt`."""
        content = {"train": IMAGES, "val": IMAGES, "names": dict(enumerate(classes))}
        texts = {
            _INDEX: yaml.safe_dump(content, sort_keys=False, allow_unicode=True),
            _NAMES: "".join(f"{name}\n" for name in classes),
        }
        for name, text in texts.items():
            if not (directory / name).exists():
                write_atomically(directory / name, text.encode())

    def remove_index(self, directory: Path) -> None:
        """Remove `data.yaml` and `classes.txt`."""
        for name in (_INDEX, _NAMES):
            (directory / name).unlink(missing_ok=True)


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
    score: float
    text: str = ""
    points: list[list[float]]
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
    """AnyLabeling's format, which is LabelMe's: `images/NAME.json` beside each picture, with polygons in pixels.

    No polygon crosses or touches itself.
    """

    folder = IMAGES
    suffix = ".json"

    def encode(self, picture: LabelledPicture) -> bytes:
        """A polygon for each part of each object, with slits to its holes."""
        shapes = [shape for number, labelled in enumerate(picture.objects) for shape in _shapes(labelled, number)]
        file = _File(shapes=shapes, image_path=picture.name, image_height=picture.height, image_width=picture.width)
        return msgspec.json.encode(file) + b"\n"


def _shapes(labelled: LabelledObject, number: int) -> Iterator[_Shape]:
    detection = labelled.detection
    polygons = labelled.mask.polygons_without_holes(TO_ROUND, SMALLEST_PART)
    for polygon in polygons:
        yield _Shape(
            label=detection.class_name,
            score=detection.confidence,
            points=polygon.tolist(),
            group_id=number if len(polygons) > 1 else None,
        )


FORMATS: Final = MappingProxyType[str, Callable[[], Format]](
    {
        "yolo": YoloFormat,
        "coco": CocoFormat,
        "coco-polygons": partial(CocoFormat, polygons=True),
        "anylabeling": AnyLabelingFormat,
    }
)
"""Formats by name."""


def create_format(name: str) -> Format:
    """The format of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in FORMATS:
        raise UsageError(f"--format {name} is unknown; expected one of {', '.join(FORMATS)}{suggestion(name, FORMATS)}")
    return FORMATS[name]()
