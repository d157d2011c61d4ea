from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from support.moving_scenes import HEIGHT, WIDTH, background, detection, film, sprite

from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Image, ObjectMask
from streamseg.propagate.appearance import evidence
from streamseg.propagate.carried import Carried, along, checked, draw, expected_ious, in_boxes, odds_of, shares_after
from streamseg.propagate.keyframe_mask import TEMPLATE_SIDE, FrameTime, Template, make_keyframe_masks, make_template
from streamseg.propagate.looks import Flow, FlowFinder, Look, Motion, look
from streamseg.propagate.planes import FLOW_SIDE, enlarged, resized, sample, split
from streamseg.window import Plane, mask_plane


def look_at(image: Image, box: Box, side: int) -> Look:
    (seen,) = look(image, [box], side)
    assert seen is not None
    return seen


def flow_between(before: Look, after: Look, ahead: Motion | None = None) -> Flow:
    return FlowFinder().between([before], [after], [ahead])


def odds_at(carried: Carried, seen: Look, opinion: Plane | None = None) -> Plane:
    _, rest = split(in_boxes([carried], [seen]))
    odds: Plane = odds_of([carried], [seen], rest, evidence_of(carried, seen), [opinion])[0]
    return odds


def evidence_of(carried: Carried, seen: Look) -> Plane:
    return evidence([carried.origin.appearance], seen.picture[None])


def step(carried: Carried, flow: Flow, share: Plane | None = None) -> Carried:
    (further,) = along([carried], flow, shares_after([carried], flow) if share is None else share[None])
    return further


def test_flow_says_where_each_place_was_before() -> None:
    """The picture moves by a twelfth of the square to the right and a twenty-fourth down; the window stays."""
    shown, moved = background(), np.roll(background(), (8, 16), (0, 1))
    box = (150.0, 100.0, 288.0, 238.0)
    before, after = look_at(shown, box, 80), look_at(moved, box, 80)
    flow = flow_between(before, after)
    assert flow.shape == (1, FLOW_SIDE, FLOW_SIDE, 2)
    middle = np.median(flow[0, 8:-8, 8:-8].reshape(-1, 2), axis=0) * (after.window.width, after.window.height)
    assert middle == pytest.approx((-16, -8), abs=0.7)


def test_flow_finds_a_square_that_jumped_by_what_the_object_is_expected_to_do() -> None:
    """The picture stands still, and the box has jumped by three tenths of its square, as boxes of a poor detector do."""
    shown = background()
    before, after = look_at(shown, (150.0, 100.0, 250.0, 200.0), 80), look_at(shown, (192.0, 100.0, 292.0, 200.0), 80)
    jumped = 42 / 140
    found, lost = (np.median(flow_between(before, after, ahead)[0, 8:-8, 8:24, 0]) for ahead in ((0.0, 0.0), None))
    assert found == pytest.approx(jumped, abs=0.01)
    assert abs(lost - jumped) > 0.05


def test_flow_is_searched_for_in_squares_of_changing_sides_whatever_is_expected() -> None:
    shown, moved = background(), np.roll(background(), 6, 1)
    box = (150.0, 100.0, 288.0, 238.0)
    finder = FlowFinder()
    flows: dict[tuple[int, Motion | None], list[Flow]] = {}
    there, nowhere = (6.0, 0.0), (math.inf, 0.0)
    once: list[tuple[int, Motion | None]] = [
        (80, there),
        (200, None),
        (120, there),
        (120, nowhere),
        (80, None),
        (200, there),
    ]
    for side, ahead in once * 2:
        found = finder.between([look_at(shown, box, side)], [look_at(moved, box, side)], [ahead])
        flows.setdefault((side, ahead), []).append(found)
    assert all(np.array_equal(first, other) for first, *others in flows.values() for other in others)


@pytest.mark.parametrize("side", [40, 80, 120, 200])
def test_squares_are_enlarged_together_as_each_by_itself(side: int) -> None:
    squares = np.random.default_rng(0).normal(size=(2, 3, FLOW_SIDE, FLOW_SIDE)).astype(np.float32)
    alone = resized(squares.reshape(-1, FLOW_SIDE, FLOW_SIDE), side)
    assert np.allclose(enlarged(squares, side).reshape(-1, side, side), alone, atol=1e-6)


def test_masks_are_carried_together_as_each_by_itself() -> None:
    shown = film(2, [sprite(1), sprite(2)], lambda place, frame: (150 + 190 * place + 6 * frame, 180, 1.2, 9 * frame))
    boxes = [[mask.xyxy for mask in one.masks if mask is not None] for one in shown]
    detections = [detection(mask, None) for mask in shown[0].masks if mask is not None]
    results = [ObjectMask(mask) for mask in shown[0].masks]
    made = make_keyframe_masks(FrameTime(0, 0), shown[0].image, detections, results)
    origins = [each.template for each in made if each.template is not None]
    before, after = (
        [seen for seen in look(one.image, of_it, 80) if seen is not None]
        for one, of_it in zip(shown, boxes, strict=True)
    )

    def carried_on(places: list[int]) -> Plane:
        masks, looks = [Carried.starting(origins[place]) for place in places], [after[place] for place in places]
        flows = FlowFinder().between([before[place] for place in places], looks, [None for _ in places])
        masks = along(masks, flows, shares_after(masks, flows))
        told = evidence([mask.origin.appearance for mask in masks], np.stack([seen.picture for seen in looks]))
        share, rest = split(in_boxes(masks, looks))
        return odds_of(checked(masks, looks, share, told), looks, rest, told, [None for _ in places])

    assert len(origins) == 2
    difference = np.abs(carried_on([0, 1]) - np.concatenate((carried_on([0]), carried_on([1]))))
    assert (
        np.quantile(difference, 0.995) < 1e-3 and difference.max() < 1
    )  # some lie on the border between two of 256 levels


@pytest.mark.parametrize("side", [40, 80, 200])
def test_a_square_is_sampled_at_its_places_in_any_resolution(side: int) -> None:
    """A step at the middle that comes from an eighth further left lies at five eighths."""
    plane = np.zeros((TEMPLATE_SIDE, TEMPLATE_SIDE), np.float32)
    plane[:, TEMPLATE_SIDE // 2 :] = 1
    x, y = np.full((1, side, side), -1 / 8, np.float32), np.zeros((1, side, side), np.float32)
    row = sample([plane], x, y, TEMPLATE_SIDE)[0, side // 2]
    assert np.interp(0.5, row[side // 2 :], (np.arange(side // 2, side) + 0.5) / side) == pytest.approx(
        5 / 8, abs=0.5 / side
    )


def test_on_its_own_frame_a_mask_is_drawn_as_it_was() -> None:
    image, box, mask = still()
    seen = look_at(image, box, 160)
    drawn = draw(odds_at(Carried.starting(remembered()), seen), seen, WIDTH, HEIGHT)
    assert drawn is not None and drawn.iou(mask) > 0.96


def test_flow_that_has_drifted_is_given_up_for_the_box() -> None:
    image, box, _ = still()
    seen, right = look_at(image, box, 80), Carried.starting(remembered())
    drifted = step(right, np.full((1, FLOW_SIDE, FLOW_SIDE, 2), 0.25, np.float32))
    told = evidence_of(right, seen)
    share, _ = split(in_boxes([right, drifted], [seen, seen]))
    stays, back = checked([right, drifted], [seen, seen], share, np.concatenate((told, told)))
    assert stays is right
    assert drifted.way[..., :2].any() and not back.way[..., :2].any()
    assert np.array_equal(back.share, right.share) and np.array_equal(back.way[..., 2], drifted.way[..., 2])


@pytest.mark.parametrize("beside", [(0.0, 0.0, 0.0, 0.0), (12.0, 0.0, 12.0, 0.0), (-9.0, 8.0, 4.0, 15.0)])
def test_a_mask_at_rest_lies_in_its_box_also_where_it_is_looked_at_beside_it(beside: Box) -> None:
    image, box, mask = still()
    seen = look_at(
        image, (box[0] + beside[0], box[1] + beside[1], box[2] + beside[2], box[3] + beside[3]), 160
    ).settled(box)
    drifted = step(Carried.starting(remembered()), np.full((1, FLOW_SIDE, FLOW_SIDE, 2), 0.25, np.float32))
    told = evidence_of(drifted, seen)
    share, rest = split(in_boxes([drifted], [seen]))
    (back,) = checked([drifted], [seen], share, told)
    drawn = draw(odds_of([back], [seen], rest, 0 * told, [None])[0], seen, WIDTH, HEIGHT)
    assert np.abs(share[0] - mask_plane(mask, seen.window, FLOW_SIDE)).mean() < 0.02
    assert back is not drifted
    assert drawn is not None and drawn.iou(mask) > 0.93


def test_outlines_are_uncertain_where_a_part_moves_otherwise_than_the_whole() -> None:
    """All of it moves and grows, as where boxes are not exact; and then one corner alone."""
    start = Carried.starting(remembered())
    along = np.linspace(-0.03, 0.05, FLOW_SIDE, dtype=np.float32)
    everywhere = np.stack(np.meshgrid(along, along), axis=-1)
    limb = np.zeros_like(everywhere)
    limb[: FLOW_SIDE // 4, : FLOW_SIDE // 4] = 0.03
    share = np.ones((FLOW_SIDE, FLOW_SIDE), np.float32)
    whole, part = (step(start, flow[None], share).way[..., 2] - start.way[..., 2] for flow in (everywhere, limb))
    assert np.ptp(whole) < 1e-5
    assert part[0, 0] - whole[0, 0] > 2 * (part[-1, -1] - whole[-1, -1]) > 0


@pytest.mark.parametrize(("then", "counts"), [(1.0, True), (-1.0, False)])
def test_the_small_segmenter_counts_as_far_as_it_gave_the_mask_rightly(then: float, counts: bool) -> None:
    """Who takes everything for the object is believed where it was right, in the middle; who took everything for background, outside."""
    shown, box, mask = still()
    origin, seen = make_template(shown, box, mask, np.full((96, 96), 6 * then, np.float32)), look_at(shown, box, 80)
    assert origin is not None
    carried = Carried.starting(origin).aged(30)
    change = odds_at(carried, seen, np.full((96, 96), 6, np.float32)) - odds_at(carried, seen)
    assert bool(change[40, 40] > 3) is counts
    assert bool(change[2, 2] > 3) is not counts


def test_the_refinement_network_runs_on_objects_with_a_mask_only() -> None:
    image, box, mask = still()
    empty, masked = detection(mask, 1, (20.0, 20.0, 90.0, 90.0)), detection(mask, 2, box)
    refined: list[Box] = []

    def refine(_: Image, boxes: Sequence[Box]) -> list[Plane]:
        refined.extend(boxes)
        return [np.zeros((96, 96), np.float32) for _ in boxes]

    results = [ObjectMask(None), ObjectMask(mask)]
    first, last = make_keyframe_masks(FrameTime(0, 0), image, [empty, masked], results, refine)
    assert (first.template, first.detection, last.detection) == (None, empty, masked)
    assert last.template is not None and refined == [box]
    assert np.array_equal(last.template.share, remembered().share)


def test_frames_without_flow_make_an_outline_uncertain() -> None:
    start = Carried.starting(remembered())
    aged = start.aged(4)
    assert aged.frames == 4 and (aged.way[..., 2] > start.way[..., 2] + 0.2).all()
    assert aged.aged(3) is aged


def still() -> tuple[Image, Box, Mask]:
    """A frame, and the box and the mask of its only object."""
    (shown,) = film(1, [sprite(1)], lambda _, __: (240, 180, 1.5, 10))
    mask = shown.masks[0]
    assert mask is not None
    return shown.image, mask.xyxy, mask


def remembered() -> Template:
    origin = make_template(*still())
    assert origin is not None
    return origin


def test_islands_are_dropped_and_parts_are_kept() -> None:
    odds = np.full((80, 80), -3.0, np.float32)
    odds[8:34, 8:34] = odds[50:66, 50:66] = 3
    odds[72:75, 8:11] = 3
    (shown,) = film(1, [sprite(1)], lambda _, __: (240, 180, 1, 0))
    seen = look_at(shown.image, (100.0, 100.0, 200.0, 200.0), 80)
    drawn = draw(odds, seen, WIDTH, HEIGHT)
    assert drawn is not None
    full = drawn.paste(HEIGHT, WIDTH)
    place = seen.window

    def at(row: int, column: int) -> bool:
        return bool(full[place.top + row * place.height // 80, place.left + column * place.width // 80])

    assert at(20, 20) and at(58, 58) and not at(73, 9)


def test_expected_iou_is_that_of_a_fair_bet() -> None:
    """Each pixel is the object's with the probability that its odds say: the mean IoU over many such objects."""
    rng = np.random.default_rng(0)
    odds = rng.normal(-1, 3, (FLOW_SIDE, FLOW_SIDE)).astype(np.float32)
    probability = 1 / (1 + np.exp(-odds))
    drawn = odds > 0
    ious = []
    for _ in range(50):
        true = rng.random(odds.shape) < probability
        ious.append(np.count_nonzero(true & drawn) / np.count_nonzero(true | drawn))
    assert expected_ious(odds[None]) == pytest.approx([np.mean(ious)], abs=0.01)


def test_a_box_outside_the_frame_has_no_template() -> None:
    mask = Mask(0, 0, np.ones((4, 4), np.bool_))
    assert make_template(background(), (-90.0, -90.0, -10.0, -10.0), mask) is None
