from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from support.moving_scenes import background, detection, film, sprite

from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import SEGMENTED, Image, ObjectMask
from streamseg.propagate.keyframe_mask import FrameTime, make_keyframe_masks, make_template
from streamseg.window import Plane

FRAME = FrameTime(7, 233_000_000)


def test_the_refinement_network_runs_on_objects_with_a_mask_only() -> None:
    (shown,) = film(1, [sprite(1)], lambda _, __: (240, 180, 1.5, 10))
    mask = shown.masks[0]
    assert mask is not None
    empty, masked = detection(mask, 1, (20.0, 20.0, 90.0, 90.0)), detection(mask, 2)
    refined: list[Box] = []

    def refine(_: Image, boxes: Sequence[Box]) -> list[Plane]:
        refined.extend(boxes)
        return [np.zeros((96, 96), np.float32) for _ in boxes]

    results = [ObjectMask(None), ObjectMask(mask)]
    first, last = make_keyframe_masks(FRAME, shown.image, [empty, masked], results, refine)
    assert (first.template, first.detection, last.detection) == (None, empty, masked)
    assert refined == [mask.xyxy]
    alone = make_template(shown.image, mask.xyxy, mask)
    assert last.template is not None and alone is not None
    assert np.array_equal(last.template.share, alone.share)


def test_a_keyframe_mask_is_published_as_the_segmenter_made_it() -> None:
    mask = Mask(20, 20, np.ones((30, 31), np.bool_))
    (made,) = make_keyframe_masks(FRAME, background(), [detection(mask, 1)], [ObjectMask(mask, 0.9, 0.8)])
    item = made.as_object(detection(mask, 5))
    assert (item.method, item.origin_seq, item.age_ms) == (SEGMENTED, 7, 0.0)
    assert (item.mask, item.predicted_iou, item.stability) == (mask, 0.9, 0.8)
    assert item.detection.tracker_id == 5


def test_a_box_outside_the_frame_has_no_template() -> None:
    mask = Mask(0, 0, np.ones((4, 4), np.bool_))
    assert make_template(background(), (-90.0, -90.0, -10.0, -10.0), mask) is None
