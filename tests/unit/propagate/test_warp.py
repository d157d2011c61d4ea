from __future__ import annotations

import numpy as np
import pytest
from support.moving_scenes import HEIGHT, WIDTH, detection, film, sprite

from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Image, ObjectMask
from streamseg.propagate.appearance import colour_logits
from streamseg.propagate.crop import FLOW_SIDE, Flow, FlowFinder, ObjectCrop, crop_objects, split
from streamseg.propagate.keyframe_mask import FrameTime, Template, make_keyframe_masks, make_template
from streamseg.propagate.overlaps import draw
from streamseg.propagate.warp import WarpedMask, WarpedMasks, locate, object_flows
from streamseg.window import Plane, mask_plane

DRIFT = np.full((1, FLOW_SIDE, FLOW_SIDE, 2), 0.25, np.float32)
"""Flow that misses the object by a quarter of the square."""


def still() -> tuple[Image, Box, Mask]:
    """A frame, and the box and the mask of its only object."""
    (shown,) = film(1, [sprite(1)], lambda _, __: (240, 180, 1.5, 10))
    mask = shown.masks[0]
    assert mask is not None
    return shown.image, mask.xyxy, mask


def template(refined: Plane | None = None) -> Template:
    image, box, mask = still()
    made = make_template(image, box, mask, refined)
    assert made is not None
    return made


def crop_at(image: Image, box: Box, side: int) -> ObjectCrop:
    (crop,) = crop_objects(image, [box], side)
    assert crop is not None
    return crop


def warped(mask: WarpedMask, flow: Flow, share: Plane | None = None) -> WarpedMask:
    batch = WarpedMasks.stack([mask])
    return batch.warped(flow, batch.shares_after(flow) if share is None else share[None])[0]


def located(mask: WarpedMask, crop: ObjectCrop, refined: Plane | None = None) -> tuple[WarpedMask, Plane]:
    masks, logits = locate(WarpedMasks.stack([mask]), [crop], [refined])
    return masks[0], logits[0]


def drawn(logits: Plane, crop: ObjectCrop) -> Mask:
    mask = draw(logits, crop.window, WIDTH, HEIGHT).mask
    assert mask is not None
    return mask


def test_on_its_keyframe_a_mask_is_drawn_as_it_was() -> None:
    image, box, mask = still()
    crop = crop_at(image, box, 160)
    assert drawn(located(WarpedMask.on_keyframe(template()), crop)[1], crop).iou(mask) > 0.96


def test_masks_are_warped_together_as_alone() -> None:
    shown = film(2, [sprite(1), sprite(2)], lambda place, frame: (150 + 190 * place + 6 * frame, 180, 1.2, 9 * frame))
    found = [[detection(mask, None) for mask in one.masks if mask is not None] for one in shown]
    results = [ObjectMask(mask) for mask in shown[0].masks]
    made = make_keyframe_masks(FrameTime(0, 0), shown[0].image, found[0], results)
    templates = [each.template for each in made if each.template is not None]
    assert len(templates) == 2
    before, after = (
        [crop for crop in crop_objects(one.image, [each.xyxy for each in those], 80) if crop is not None]
        for one, those in zip(shown, found, strict=True)
    )

    def logits(places: list[int]) -> Plane:
        crops = [after[place] for place in places]
        flows = FlowFinder().between([before[place] for place in places], crops, [None for _ in places])
        masks = WarpedMasks.stack([WarpedMask.on_keyframe(templates[place]) for place in places])
        shares = masks.shares_after(flows)
        masks = masks.warped(object_flows(flows, shares), shares)
        return locate(masks, crops, [None for _ in places])[1]

    difference = np.abs(logits([0, 1]) - np.concatenate((logits([0]), logits([1]))))
    # Some lie on the border between two of 256 levels.
    assert np.quantile(difference, 0.995) < 1e-3 and difference.max() < 1


def test_a_mask_that_has_drifted_goes_back_to_its_box_and_the_other_stays() -> None:
    image, box, _ = still()
    crop, right = crop_at(image, box, 80), WarpedMask.on_keyframe(template())
    drifted = warped(right, DRIFT)
    masks = WarpedMasks.stack([right, drifted])
    colours = colour_logits([right.template.appearance] * 2, np.stack([crop.picture] * 2))
    rest_shares, _ = split(masks.at_rest_in([crop, crop]))
    corrected = masks.without_drift([crop, crop], rest_shares, colours)
    stays, back = corrected[0], corrected[1]
    assert np.array_equal(stays.offsets, right.offsets) and np.array_equal(stays.share, right.share)
    assert drifted.offsets[..., :2].any() and not back.offsets[..., :2].any()
    assert np.array_equal(back.share, right.share)
    assert np.array_equal(back.offsets[..., 2], drifted.offsets[..., 2])
    assert np.array_equal(masks.offsets[1], drifted.offsets), "the masks given have not changed"


@pytest.mark.parametrize("beside", [(0.0, 0.0, 0.0, 0.0), (12.0, 0.0, 12.0, 0.0), (-9.0, 8.0, 4.0, 15.0)])
def test_a_mask_at_rest_lies_in_its_box_also_in_a_crop_beside_it(beside: Box) -> None:
    image, box, mask = still()
    around = (box[0] + beside[0], box[1] + beside[1], box[2] + beside[2], box[3] + beside[3])
    crop = crop_at(image, around, 160).with_box(box)
    masks = WarpedMasks.stack([warped(WarpedMask.on_keyframe(template()), DRIFT)])
    rest_shares, rest = split(masks.at_rest_in([crop]))
    colours = colour_logits([masks.templates[0].appearance], crop.picture[None])
    back = masks.without_drift([crop], rest_shares, colours)
    assert np.abs(rest_shares[0] - mask_plane(mask, crop.window, FLOW_SIDE)).mean() < 0.02
    assert not np.array_equal(back.offsets, masks.offsets)
    assert drawn(back.logits([crop], rest, 0 * colours, [None])[0], crop).iou(mask) > 0.93


def test_an_outline_is_uncertain_where_a_part_moves_otherwise_than_the_whole() -> None:
    """All of it moves and grows, as where boxes are inexact; then one corner moves alone."""
    start = WarpedMask.on_keyframe(template())
    along = np.linspace(-0.03, 0.05, FLOW_SIDE, dtype=np.float32)
    everywhere = np.stack(np.meshgrid(along, along), axis=-1)
    limb = np.zeros_like(everywhere)
    limb[: FLOW_SIDE // 4, : FLOW_SIDE // 4] = 0.03
    share = np.ones((FLOW_SIDE, FLOW_SIDE), np.float32)
    whole, part = (
        warped(start, flow[None], share).offsets[..., 2] - start.offsets[..., 2] for flow in (everywhere, limb)
    )
    assert np.ptp(whole) < 1e-5
    assert part[0, 0] - whole[0, 0] > 2 * (part[-1, -1] - whole[-1, -1]) > 0


@pytest.mark.parametrize(("then", "trusted"), [(1.0, True), (-1.0, False)])
def test_the_refinement_network_is_trusted_where_it_was_right_on_the_keyframe(then: float, trusted: bool) -> None:
    """It took everything for the object, which is right in the middle; or for background, which is right outside."""
    image, box, _ = still()
    crop = crop_at(image, box, 80)
    mask = WarpedMask.on_keyframe(template(np.full((96, 96), 6 * then, np.float32))).aged(30)
    change = located(mask, crop, np.full((96, 96), 6, np.float32))[1] - located(mask, crop)[1]
    assert bool(change[40, 40] > 3) is trusted
    assert bool(change[2, 2] > 3) is not trusted


def test_frames_without_flow_make_an_outline_uncertain() -> None:
    start = WarpedMask.on_keyframe(template())
    aged = start.aged(4)
    assert aged.frames == 4 and (aged.offsets[..., 2] > start.offsets[..., 2] + 0.2).all()
    assert aged.aged(3) is aged
