"""Converts a result for other libraries: COCO annotations, polygons, `supervision.Detections`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict

import numpy as np

from streamseg.masks import CocoRle, Mask, Polygon
from streamseg.messages import Result, TrackedObject

if TYPE_CHECKING:
    import supervision
    from supervision import CompactMask

NO_TRACK: Final = -1
"""`tracker_id` of an object without a confirmed track in `supervision.Detections`, as in supervision's own trackers."""


class CocoAnnotation(TypedDict):
    """An object in COCO's JSON. `bbox` is left, top, width, height; `image_id` is the frame's `seq`."""

    image_id: int
    category_id: int
    bbox: list[float]
    score: float
    area: float
    iscrowd: int
    segmentation: NotRequired[CocoRle]


def to_coco(result: Result) -> list[CocoAnnotation]:
    """Convert every object to a COCO annotation. Without a mask it has no `segmentation`, and the area of its box."""
    return [_annotation(result, item) for item in result.objects]


def to_polygons(result: Result) -> list[list[Polygon]]:
    """Convert every object to the outlines of its mask's parts, each of shape (points, 2); empty without a mask."""
    return [[] if item.mask is None else item.mask.polygons() for item in result.objects]


def to_detections(result: Result) -> supervision.Detections:
    """Convert the objects to `supervision.Detections` with a `CompactMask`.

    `data` holds `class_name` and `method`. An object without a mask gets an empty one; without any, `mask` is None.

        for result in Subscriber("tcp://127.0.0.1:5555"):
            drawn = supervision.MaskAnnotator().annotate(picture, to_detections(result))
    """
    import supervision

    objects = result.objects
    found = [item.detection for item in objects]
    return supervision.Detections(
        xyxy=np.array([item.xyxy for item in found], dtype=np.float32).reshape(-1, 4),
        mask=_compact([item.mask for item in objects], result.height, result.width),
        confidence=np.array([item.confidence for item in found], dtype=np.float32),
        class_id=np.array([item.class_id for item in found], dtype=np.int64),
        tracker_id=np.array(
            [NO_TRACK if item.tracker_id is None else item.tracker_id for item in found], dtype=np.int64
        ),
        data={
            "class_name": np.array([item.class_name for item in found], dtype=np.str_),
            "method": np.array([item.method for item in objects], dtype=np.str_),
        },
    )


def _annotation(result: Result, item: TrackedObject) -> CocoAnnotation:
    left, top, right, bottom = item.detection.xyxy
    width, height = right - left, bottom - top
    annotation = CocoAnnotation(
        image_id=result.seq,
        category_id=item.detection.class_id,
        bbox=[left, top, width, height],
        score=item.detection.confidence,
        area=width * height if item.mask is None else float(item.mask.area),
        iscrowd=0,
    )
    if item.mask is not None:
        annotation["segmentation"] = item.mask.rle(result.height, result.width)
    return annotation


def _compact(masks: Sequence[Mask | None], height: int, width: int) -> CompactMask | None:
    """Pack each mask within its own rectangle, which needs no array of the frame's size."""
    if not any(masks):
        return None
    from supervision import CompactMask

    empty = Mask(0, 0, np.zeros((1, 1), dtype=np.bool_))
    compact = []
    for mask in (mask or empty for mask in masks):
        box = np.array([[0, 0, mask.width - 1, mask.height - 1]])
        crop = CompactMask.from_dense(mask.bits[None], box, mask.bits.shape)
        compact.append(crop.with_offset(mask.x, mask.y, (height, width)))
    return CompactMask.merge(compact)
