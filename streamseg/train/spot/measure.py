"""Measures a detector: average precision at an IoU of 0.5, by COCO's own code."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from streamseg.messages import Detection, Image
from streamseg.train.spot.labels import LabelledPhotograph

_IOU = 0.5

Record = dict[str, object]
"""A picture, an object or a class, as pycocotools takes them."""


@dataclass(frozen=True, slots=True)
class Precision:
    """Average precision at an IoU of 0.5: the mean over the classes that occur, and that of each by its name."""

    mean: float
    of_class: dict[str, float]


def average_precision(
    detect: Callable[[Image], Sequence[Detection]], photographs: Sequence[LabelledPhotograph], classes: Sequence[str]
) -> Precision:
    """Measure a detector whose class ids are places in `classes`, on photographs that are labelled completely."""
    images: list[Record] = []
    annotations: list[Record] = []
    found: list[Record] = []
    for number, photograph in enumerate(photographs, 1):
        images.append({"id": number})
        for box, label in zip(photograph.boxes.tolist(), photograph.classes.tolist(), strict=True):
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": label, **_sides(box)})
        for detection in detect(photograph.read()):
            sides = {"category_id": detection.class_id, "score": detection.confidence, **_sides(detection.xyxy)}
            found.append({"image_id": number, **sides})
    categories = [{"id": place, "name": name} for place, name in enumerate(classes)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "annotations": annotations, "categories": categories}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found) if found else COCO(), "bbox")
        evaluation.params.iouThrs = np.array([_IOU])
        if found:
            evaluation.evaluate()
            evaluation.accumulate()
    if not found:
        return Precision(0.0, {})
    # IoUs, recalls, classes, areas (all first), most detections (100 last)
    precisions = evaluation.eval["precision"][0, :, :, 0, -1].mean(axis=0)
    of_class = {name: float(precision) for name, precision in zip(classes, precisions, strict=True) if precision >= 0}
    return Precision(float(np.mean(list(of_class.values()))) if of_class else 0.0, of_class)


def _sides(box: Sequence[float]) -> Record:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    return {"bbox": [left, top, width, height], "area": width * height, "iscrowd": 0}
