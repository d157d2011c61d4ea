from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import supervision
from pycocotools import mask as coco_masks
from support.results import EMPTY_RESULT

from streamseg.errors import UsageError
from streamseg.masks import Mask
from streamseg.messages import Detection, Image, TrackedObject
from streamseg.render import render
from streamseg.render_settings import RenderSettings
from streamseg.result import Result


def result(seq: int, *objects: TrackedObject) -> Result:
    return Result.of(replace(EMPTY_RESULT, run_id="a", epoch=1, seq=seq, objects=objects), "masks")


def tracked(mask: Mask | None, tracker_id: int | None, name: str) -> TrackedObject:
    found = Detection(xyxy=(1.0, 2.0, 11.5, 22.0), confidence=0.75, class_id=3, class_name=name, tracker_id=tracker_id)
    return TrackedObject(detection=found, mask=mask, method="segmented" if mask else "pending")


CORNER = np.triu(np.ones((5, 7), dtype=np.bool_))
RESULT = result(
    8, tracked(Mask(57, 43, CORNER), 4, "cup"), tracked(None, None, "person"), tracked(Mask(0, 0, CORNER), 5, "cup")
)


def test_detections_of_supervision() -> None:
    detections = RESULT.to_detections()
    assert detections.xyxy.tolist() == [[1.0, 2.0, 11.5, 22.0]] * 3
    assert detections.tracker_id is not None and detections.tracker_id.tolist() == [4, -1, 5]
    assert detections.class_id is not None and detections.class_id.tolist() == [3, 3, 3]
    assert detections.confidence is not None and detections.confidence.tolist() == [0.75] * 3
    assert list(detections.data["class_name"]) == ["cup", "person", "cup"]
    assert list(detections.data["method"]) == ["segmented", "pending", "segmented"]
    assert isinstance(detections.mask, supervision.CompactMask)
    expected = np.stack(
        [
            np.zeros((48, 64), dtype=np.bool_) if item.mask is None else item.mask.paste(48, 64)
            for item in RESULT.objects
        ]
    )
    assert np.array_equal(np.asarray(detections.mask), expected)


def test_detections_without_objects_or_masks() -> None:
    assert len(result(0).to_detections()) == 0
    assert result(0, tracked(None, 1, "cup")).to_detections().mask is None


def test_detections_can_be_drawn() -> None:
    scene = np.zeros((48, 64, 3), dtype=np.uint8)
    drawn = supervision.MaskAnnotator(opacity=1.0).annotate(scene.copy(), RESULT.to_detections())
    first, second = RESULT.objects[0].mask, RESULT.objects[2].mask
    assert first is not None and second is not None
    assert np.array_equal(np.asarray(drawn).any(axis=2), first.paste(48, 64) | second.paste(48, 64))


def test_coco_annotations() -> None:
    annotations = RESULT.to_coco()
    assert json.loads(json.dumps(annotations)) == annotations
    assert annotations[1] == {
        "image_id": 8,
        "category_id": 4,
        "bbox": [1.0, 2.0, 10.5, 20.0],
        "score": 0.75,
        "area": 210.0,
        "iscrowd": 0,
    }
    mask = RESULT.objects[0].mask
    assert mask is not None
    assert annotations[0]["segmentation"] == mask.rle(48, 64)
    assert annotations[0]["area"] == mask.area


@pytest.mark.parametrize(
    ("xyxy", "bbox"),
    [
        ((-5.0, -2.0, 70.0, 50.0), [0.0, 0.0, 64.0, 48.0]),
        ((60.0, 40.0, 70.5, 50.0), [60.0, 40.0, 4.0, 8.0]),
        ((-9.0, 3.0, -1.0, 9.0), [0.0, 3.0, 0.0, 6.0]),
    ],
)
def test_coco_boxes_lie_inside_the_frame(xyxy: tuple[float, float, float, float], bbox: list[float]) -> None:
    found = Detection(xyxy=xyxy, confidence=0.75, class_id=3, class_name="cup")
    (annotation,) = result(8, TrackedObject(detection=found)).to_coco()
    assert annotation["bbox"] == bbox
    assert annotation["area"] == bbox[2] * bbox[3]


def test_coco_annotations_with_polygons() -> None:
    annotations = RESULT.to_coco(polygons=True)
    assert json.loads(json.dumps(annotations)) == annotations
    assert "segmentation" not in annotations[1]
    mask = RESULT.objects[0].mask
    assert mask is not None
    runs = coco_masks.frPyObjects(annotations[0]["segmentation"], 48, 64)
    assert np.array_equal(coco_masks.decode(coco_masks.merge(runs)) > 0, mask.paste(48, 64))


def test_polygons_one_list_for_each_object() -> None:
    outlines = RESULT.to_polygons()
    assert [len(parts) for parts in outlines] == [1, 0, 1]
    assert outlines[0][0].min(axis=0).tolist() == [57.05, 43.05]
    assert outlines[0][0].max(axis=0).tolist() == [63.45, 47.45]


def picture() -> Image:
    return np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)


def test_an_image_comes_from_pixels_or_is_decoded_once() -> None:
    pixels = picture()
    assert replace(RESULT, view="clean", pixels=pixels).image is pixels
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    received = Result.of(replace(EMPTY_RESULT, jpeg=jpeg), "clean")
    image = received.image
    assert image is not None
    assert image.shape == pixels.shape
    assert received.image is image
    assert Result.of(EMPTY_RESULT, "masks").image is None


def test_a_plot_is_drawn_on_a_copy() -> None:
    pixels = picture()
    drawn = replace(RESULT, view="clean", pixels=pixels).plot()
    assert np.array_equal(drawn, render(picture(), RESULT))
    assert not np.array_equal(drawn, replace(RESULT, view="clean", pixels=pixels).plot(RenderSettings(labels=False)))
    assert not np.array_equal(drawn, picture())
    assert np.array_equal(pixels, picture())


def test_the_overlay_is_not_drawn_twice() -> None:
    result = replace(RESULT, view="overlay", pixels=picture())
    assert np.array_equal(result.plot(), picture())
    assert result.plot() is not result.image


def test_a_plot_without_a_picture_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no picture; take it from Pipeline\(\.\.\., images=True\)"):
        RESULT.plot()
