"""Each object keeps its mask, even if others have none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.annotated import CLASSES, DatasetReader, detection, disc, settings_of, write_picture

from streamseg.annotate.dataset import open_dataset
from streamseg.annotate.formats import FORMATS
from streamseg.annotate.labelling import LabelledPicture, Labeller
from streamseg.annotate.pictures import PictureFile
from streamseg.images import read_image
from streamseg.masks import Mask
from streamseg.messages import Detection, Image, ObjectMask

HEIGHT, WIDTH = 90, 160
OBJECTS = 5


class KnownDetector:
    """Returns preset detections; object k has class k."""

    name = "known"
    classes = CLASSES

    def __init__(self, count: int) -> None:
        self._count = count

    def detect(self, image: Image) -> list[Detection]:
        return [detection(number) for number in range(self._count)]


class LosingSegmenter:
    """Draws a disc for each object, of its own place and size, and a preset mask for object `lost`."""

    name = "losing"

    def __init__(self, lost: int | None, answer: ObjectMask) -> None:
        self._lost, self._answer = lost, answer

    def encode(self, image: Image) -> Image:
        return image

    def decode(self, embedding: Image, detections: Sequence[Detection]) -> list[ObjectMask]:
        answers = [ObjectMask(disc(one.class_id, HEIGHT, WIDTH)) for one in detections]
        return [
            self._answer if one.class_id == self._lost else answer
            for one, answer in zip(detections, answers, strict=True)
        ]

    def describe(self) -> str:
        return self.name


NOTHING = {
    "no mask": ObjectMask(None),
    "a speck": ObjectMask(Mask.crop(np.ones((2, 4), np.bool_), 3, 3)),
}


@pytest.mark.parametrize("answer", NOTHING.values(), ids=NOTHING.keys())
@pytest.mark.parametrize("lost", range(OBJECTS))
@pytest.mark.parametrize("data_format", FORMATS)
def test_a_missing_mask_does_not_shift_the_classes_of_others(
    tmp_path: Path, data_format: str, lost: int, answer: ObjectMask
) -> None:
    source = write_picture(tmp_path / "picture.png", HEIGHT, WIDTH)
    objects = Labeller(KnownDetector(OBJECTS), LosingSegmenter(lost, answer)).label(read_image(source))
    with open_dataset(tmp_path / "out", settings_of(data_format), restart=False) as dataset:
        dataset.begin(CLASSES)
        dataset.add(PictureFile(source), LabelledPicture(source.name, WIDTH, HEIGHT, objects))
        dataset.finish()
    found = DatasetReader(tmp_path / "out", data_format).objects(source.name)
    expected = [number for number in range(OBJECTS) if number != lost]
    assert [name for name, _ in found] == [CLASSES[number] for number in expected]
    for (_, bits), number in zip(found, expected, strict=True):
        seen = Mask.crop(bits)
        assert seen is not None
        # supervision rounds the corners of COCO's polygons, which lie around the centres of pixels.
        assert seen.iou(disc(number, HEIGHT, WIDTH)) > (0.75 if data_format == "coco-polygons" else 0.9999)


def test_too_few_masks_are_an_error() -> None:
    class Forgetful(LosingSegmenter):
        def decode(self, embedding: Image, detections: Sequence[Detection]) -> list[ObjectMask]:
            return super().decode(embedding, detections)[1:]

    with pytest.raises(ValueError, match="zip"):
        Labeller(KnownDetector(3), Forgetful(None, NOTHING["no mask"])).label(np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def test_a_picture_without_objects_is_not_read_by_the_segmenter() -> None:
    class Reluctant(LosingSegmenter):
        def encode(self, image: Image) -> Image:
            raise AssertionError("nothing to segment")

    assert (
        Labeller(KnownDetector(0), Reluctant(None, NOTHING["no mask"])).label(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        == ()
    )
