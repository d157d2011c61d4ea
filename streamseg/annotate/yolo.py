"""YOLO's segmentation format: a text file for each picture, a line for each object.

A line holds the number of the class and one polygon, x and y in shares of the picture's width and height.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import yaml

from streamseg.annotate.labelling import IMAGES, LabelledPicture
from streamseg.annotate.outlines import WITHIN_PIXEL, outline
from streamseg.atomic import write_atomically

_INDEX: Final = "data.yaml"


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
        index = directory / _INDEX
        if not index.exists():
            content = {"train": IMAGES, "val": IMAGES, "names": dict(enumerate(classes))}
            write_atomically(index, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())

    def withdraw(self, directory: Path) -> None:
        """Remove `data.yaml`."""
        (directory / _INDEX).unlink(missing_ok=True)


def encode_yolo(picture: LabelledPicture) -> bytes:
    """The label file of a picture; empty where it has no objects."""
    size = np.array([picture.width, picture.height])
    lines = []
    for labelled in picture.objects:
        # Seven decimals keep the pixel in pictures of any size.
        shares = ((outline(labelled.mask) + WITHIN_PIXEL) / size).ravel().tolist()
        lines.append(f"{labelled.detection.class_id} {' '.join(f'{share:.7f}' for share in shares)}\n")
    return "".join(lines).encode()
