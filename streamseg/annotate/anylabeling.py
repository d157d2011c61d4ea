"""AnyLabeling's format, which is LabelMe's: beside each picture a JSON file with its polygons, in pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from streamseg.annotate.labelling import IMAGES, LabelledObject, LabelledPicture
from streamseg.annotate.outlines import WITHIN_PIXEL, part_outlines

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
