"""Builds small data sets, and reads them with supervision, as users do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import supervision as sv

from streamseg.annotate.dataset import Settings
from streamseg.masks import Bits, Mask
from streamseg.messages import Detection

COCO_INDEX = Path("annotations", "instances_default.json")
CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox")


def settings_of(data_format: str, *, conf: float = 0.25, source: str = "pictures") -> Settings:
    """Settings that name no real model."""
    return Settings(
        format=data_format,
        source=source,
        source_bytes=None,
        every=1,
        detector="known",
        detector_sha256=None,
        segmenter="losing",
        segmenter_sha256=None,
        conf=conf,
        iou=0.45,
        imgsz=None,
        max_det=300,
        classes=None,
    )


def detection(number: int) -> Detection:
    """A detection of the class with this number; its box does not matter."""
    return Detection(
        xyxy=(0.0, 0.0, 9.0, 9.0), confidence=1 - 0.1 * number, class_id=number, class_name=CLASSES[number]
    )


def disc(number: int, height: int, width: int) -> Mask:
    """A disc with a position and size of its own for each number."""
    canvas = np.zeros((height, width), np.uint8)
    cv2.circle(canvas, (20 + 25 * number, 25 + 9 * number), 6 + 2 * number, 1, cv2.FILLED)
    mask = Mask.crop(canvas)
    assert mask is not None
    return mask


def write_picture(path: Path, height: int, width: int, seed: int = 0) -> Path:
    """A picture of noise."""
    assert cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8))
    return path


class DatasetReader:
    """A finished data set."""

    def __init__(self, directory: Path, data_format: str) -> None:
        images = str(directory / "images")
        if data_format == "yolo":
            self._dataset = sv.DetectionDataset.from_yolo(
                images, str(directory / "labels"), str(directory / "data.yaml")
            )
        elif data_format.startswith("coco"):
            self._dataset = sv.DetectionDataset.from_coco(images, str(directory / COCO_INDEX), force_masks=True)
        else:
            self._dataset = sv.DetectionDataset.from_labelme(images, images, force_masks=True)

    @property
    def classes(self) -> list[str]:
        """Class names by number."""
        return list(self._dataset.classes)

    @property
    def names(self) -> list[str]:
        """The pictures' file names."""
        return sorted(Path(path).name for path in self._dataset.image_paths)

    def objects(self, name: str) -> list[tuple[str, Bits]]:
        """Class and mask of each object of a picture, in order."""
        [path] = [path for path in self._dataset.image_paths if Path(path).name == name]
        found = self._dataset.annotations[path]
        if len(found) == 0:
            return []
        assert found.mask is not None and found.class_id is not None
        return [
            (self.classes[number], np.asarray(bits, np.bool_))
            for number, bits in zip(found.class_id, found.mask, strict=True)
        ]
