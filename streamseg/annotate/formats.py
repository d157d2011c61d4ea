"""Formats of data sets: for each picture a label file, and in the end perhaps a file about all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from streamseg.annotate.anylabeling import AnyLabelingFormat
from streamseg.annotate.coco import CocoFormat
from streamseg.annotate.labelling import LabelledPicture
from streamseg.annotate.yolo import YoloFormat
from streamseg.errors import UsageError


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
