from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.seeded_weights import draw_scene, write_seeded_checkpoint
from streamseg.geometry import box_iou
from streamseg.messages import Detection, ObjectMask
from streamseg.models.segmenters.sam import Sam
from streamseg.models.segmenters.sam.mask_decoder import POOR_IOU


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[ObjectMask]:
    path = tmp_path_factory.mktemp("seeded") / "mobile_sam.pt"
    scene = draw_scene()
    write_seeded_checkpoint(path, scene)
    model = Sam.load(path, architecture="mobilesam")
    assert "image_encoder.norm_head.weight" in torch.load(path, weights_only=True)
    boxes = [tuple(map(float, box)) for box in scene.boxes]
    embedding = model.encode(scene.image)
    clear = model.predict(embedding, embedding.prompts(boxes=scene.boxes), multimask=False)
    assert clear.predicted_iou.min() > POOR_IOU, (
        "ours must return the mask for unambiguous prompts, as other programs do"
    )
    return model.decode(
        embedding,
        [
            Detection(xyxy=(box[0], box[1], box[2], box[3]), confidence=1.0, class_id=0, class_name="object")
            for box in boxes
        ],
    )


@pytest.mark.full
def test_each_mask_covers_its_own_part_of_the_picture(drawn: list[ObjectMask]) -> None:
    masks = [one.mask for one in drawn if one.mask is not None]
    assert len(masks) == 20
    covered = [mask.area / (1280 * 720) for mask in masks]
    assert min(covered) > 0.02 and max(covered) < 0.6
    others = [one.iou(other) for index, one in enumerate(masks) for other in masks[:index]]
    assert np.mean(others) < 0.3 and max(others) < 0.8
    assert all(one.predicted_iou is not None and 0.5 < one.predicted_iou < 1 for one in drawn)


@pytest.mark.full
def test_masks_roughly_cover_their_objects(drawn: list[ObjectMask]) -> None:
    objects = draw_scene().objects
    right = [one.mask.paste(720, 1280) for one in drawn if one.mask is not None]
    iou = [(mask & shape).sum() / (mask | shape).sum() for mask, shape in zip(right, objects, strict=True)]
    assert np.mean(iou) > 0.4


def test_the_scene_is_reproducible_and_its_boxes_fit_any_picture() -> None:
    scene = draw_scene()
    assert np.array_equal(scene.image, draw_scene().image) and not np.array_equal(scene.image, draw_scene(seed=1).image)
    assert scene.image.shape == (720, 1280, 3) and scene.objects.shape == (20, 720, 1280)
    given = np.zeros((480, 360, 3), np.uint8)
    other = draw_scene(given)
    assert other.image is given and not given.any()
    assert other.boxes[:, [0, 2]].max() <= 360 and other.boxes[:, [1, 3]].max() <= 480
    boxes = [(float(a), float(b), float(c), float(d)) for a, b, c, d in other.boxes]
    assert max(box_iou(one, two) for index, one in enumerate(boxes) for two in boxes[:index]) < 0.95
