"""Photographs with the boxes and classes of their objects, from COCO files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamseg.errors import DataError
from streamseg.images import read_image
from streamseg.messages import Image
from streamseg.train.coco_file import LeftOut, read_coco

_SMALLEST_SIDE = 2.0
"""Of a box, in pixels."""

Boxes = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPhotograph:
    """A photograph with the labels of its objects.

    Attributes:
        path: The file.
        boxes: Shape (n, 4): left, top, right, bottom, in pixels.
        classes: Shape (n,): numbers in the list of classes.
        complete: Whether every object of these classes is labelled, so that all else is background.
    """

    path: Path
    boxes: Boxes
    classes: NDArray[np.int64]
    complete: bool

    def read(self) -> Image:
        """The picture: shape (height, width, 3), uint8, BGR.

        Raises:
            SourceError: The file is no picture.
        """
        return read_image(self.path)


@dataclass(frozen=True, slots=True)
class Labels:
    """What a COCO file labels.

    Attributes:
        classes: Their names.
        photographs: In the order of their ids.
        notes: A line for each kind of annotation that is left out.
    """

    classes: tuple[str, ...]
    photographs: list[LabelledPhotograph]
    notes: list[str]


def read_labels(annotations: Path, images: Path, classes: tuple[str, ...] | None = None) -> Labels:
    """Read the boxes of a COCO file.

    A photograph may say which classes are labelled completely in it (`exhaustive`: `"all"`, or a list of names);
    without that, all are.

    Args:
        annotations: In COCO's format for instances.
        images: The folder of the photographs.
        classes: Names to take, in their order; None takes those of the file.

    Raises:
        DataError: The file is not COCO's, a class is not in it, or no photograph is there.
    """
    left_out = LeftOut()
    coco = read_coco(annotations, left_out, outlines=False)
    names = tuple(coco.categories.values())
    wanted = names if classes is None else classes
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise DataError(f"{annotations} has no class {unknown[0]!r}; it has {', '.join(names)}")
    numbers = {identity: wanted.index(name) for identity, name in coco.categories.items() if name in wanted}
    photographs = []
    for picture, annotated in coco.pictures:
        path = picture.find(images)
        if path is None:
            for name, _ in annotated:
                left_out.add("of a photograph that is missing", name)
            continue
        boxes, labels = [], []
        for name, annotation in annotated:
            try:
                box = annotation.box(picture)
            except ValueError as error:
                left_out.add("whose box is not four numbers", name, str(error))
                continue
            if box is None or min(box[2] - box[0], box[3] - box[1]) < _SMALLEST_SIDE:
                left_out.add("without a box", name)
            elif annotation.category_id in numbers:
                boxes.append(box)
                labels.append(numbers[annotation.category_id])
        photographs.append(
            LabelledPhotograph(
                path,
                np.array(boxes, np.float32).reshape(-1, 4),
                np.array(labels, np.int64),
                picture.is_complete(wanted),
            )
        )
    if not photographs:
        raise DataError(f"{images} holds no photograph of {annotations}; give their folder with --images")
    return Labels(wanted, photographs, left_out.lines())
