"""The categories of COCO files: names of COCO's 80 classes, and the ids of categories in COCO's own files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

COCO_CLASSES: Final[tuple[str, ...]] = (
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
)
"""In the order of YOLOX's outputs."""
_UNUSED: Final = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
"""Ids up to 90 without a category."""
_COCO_IDS: Final = tuple(number for number in range(1, 91) if number not in _UNUSED)


def category_id(class_id: int, class_name: str) -> int:
    """The id of a detector's class in a COCO file.

    COCO's classes have the ids of COCO's own files, 1 to 90 with gaps, which readers map back to 80 classes. Other
    classes have their number plus one, and from the 81st on, ids from 91 on.
    """
    if class_id >= len(_COCO_IDS):
        return class_id - len(_COCO_IDS) + _COCO_IDS[-1] + 1
    return _COCO_IDS[class_id] if class_name == COCO_CLASSES[class_id] else class_id + 1


def category_ids(classes: Sequence[str]) -> list[int]:
    """The ids of all classes of a detector: those of `category_id`, or from 1 on if two of those were the same."""
    ids = [category_id(number, name) for number, name in enumerate(classes)]
    return ids if len(set(ids)) == len(ids) else list(range(1, len(classes) + 1))
