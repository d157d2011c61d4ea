from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from moving_scenes import HEIGHT, WIDTH, background, film, sprite

from streamseg.masks import Mask
from streamseg.messages import Box, Image
from streamseg.propagate.carried import Carried, draw, expected_iou
from streamseg.propagate.looks import FLOW_SIDE, FlowFinder, look
from streamseg.propagate.origin import ORIGIN_SIDE, Origin, remember, remember_all
from streamseg.propagate.planes import sample
from streamseg.window import Plane


def test_flow_says_where_each_place_was_before() -> None:
    """The picture moves by a twelfth of the square to the right and a twenty-fourth down; the window stays."""
    shown, moved = background(), np.roll(background(), (8, 16), (0, 1))
    box = (150.0, 100.0, 288.0, 238.0)
    before, after = look(shown, box, 96), look(moved, box, 96)
    assert before is not None and after is not None
    flow = FlowFinder().between(before, after)
    assert flow.shape == (FLOW_SIDE, FLOW_SIDE, 2)
    middle = np.median(flow[8:-8, 8:-8].reshape(-1, 2), axis=0) * (after.window.width, after.window.height)
    assert middle == pytest.approx((-16, -8), abs=0.7)


def test_flow_does_not_depend_on_what_was_looked_at_before() -> None:
    """Squares too small for the usual resolution make the search choose another one, for that time."""
    shown, moved = background(), np.roll(background(), 6, 1)
    box = (150.0, 100.0, 288.0, 238.0)
    finder = FlowFinder()
    flows = []
    for side in (96, 48, 96):
        before, after = look(shown, box, side), look(moved, box, side)
        assert before is not None and after is not None
        flows.append(finder.between(before, after))
    assert np.array_equal(flows[0], flows[2])


@pytest.mark.parametrize("side", [48, 96, 192])
def test_a_square_is_sampled_at_its_places_in_any_resolution(side: int) -> None:
    """A step at the middle that comes from an eighth further left lies at five eighths."""
    plane = np.zeros((ORIGIN_SIDE, ORIGIN_SIDE), np.float32)
    plane[:, ORIGIN_SIDE // 2 :] = 1
    displacement = np.zeros((side, side, 2), np.float32)
    displacement[..., 0] = -1 / 8
    row = sample(plane, displacement)[side // 2]
    assert np.interp(0.5, row[side // 2 :], (np.arange(side // 2, side) + 0.5) / side) == pytest.approx(5 / 8, abs=0.5 / side)


def test_on_its_own_frame_a_mask_is_drawn_as_it_was() -> None:
    image, box, mask = still()
    origin, seen = remembered(), look(image, box, 144)
    assert seen is not None
    odds = Carried.starting(origin).odds(seen, origin.appearance.evidence(seen.picture))
    drawn = draw(odds, seen, WIDTH, HEIGHT)
    assert drawn is not None and drawn.iou(mask) > 0.96


def test_flow_that_has_drifted_is_given_up_for_the_box() -> None:
    image, box, _ = still()
    origin, seen = remembered(), look(image, box, 96)
    assert seen is not None
    evidence = origin.appearance.evidence(seen.picture)
    right = Carried.starting(origin)
    flow = np.full((FLOW_SIDE, FLOW_SIDE, 2), 0.25, np.float32)
    drifted = right.along(flow, right.share_after(flow))
    assert right.checked(evidence) is right
    back = drifted.checked(evidence)
    assert drifted.way[:2].any() and not back.way[:2].any()
    assert np.array_equal(back.share, right.share) and np.array_equal(back.way[2], drifted.way[2])


def test_outlines_are_uncertain_where_a_part_moves_otherwise_than_the_whole() -> None:
    """All of it moves and grows, as where boxes are not exact; and then one corner alone."""
    start = Carried.starting(remembered())
    along = np.linspace(-0.03, 0.05, FLOW_SIDE, dtype=np.float32)
    everywhere = np.stack(np.meshgrid(along, along), axis=-1)
    limb = np.zeros_like(everywhere)
    limb[: FLOW_SIDE // 4, : FLOW_SIDE // 4] = 0.03
    share = np.ones((FLOW_SIDE, FLOW_SIDE), np.float32)
    whole, part = (start.along(flow, share).way[2] - start.way[2] for flow in (everywhere, limb))
    assert np.ptp(whole) < 1e-5
    assert part[0, 0] - whole[0, 0] > 2 * (part[-1, -1] - whole[-1, -1]) > 0


@pytest.mark.parametrize(("then", "counts"), [(1.0, True), (-1.0, False)])
def test_the_small_segmenter_counts_as_far_as_it_gave_the_mask_rightly(then: float, counts: bool) -> None:
    """Who takes everything for the object is believed where it was right, in the middle; who took everything for background, outside."""
    shown, box, mask = still()
    origin, seen = remember(shown, box, mask, np.full((96, 96), 6 * then, np.float32)), look(shown, box, 96)
    assert origin is not None and seen is not None
    carried = Carried.starting(origin).aged(30)
    evidence = origin.appearance.evidence(seen.picture)
    change = carried.odds(seen, evidence, np.full((96, 96), 6, np.float32)) - carried.odds(seen, evidence)
    assert bool(change[48, 48] > 3) is counts
    assert bool(change[2, 2] > 3) is not counts


def test_objects_are_remembered_in_their_order_and_only_those_with_masks_are_asked_about() -> None:
    image, box, mask = still()
    elsewhere = (20.0, 20.0, 90.0, 90.0)
    asked: list[Box] = []

    def refine(_: Image, boxes: Sequence[Box]) -> list[Plane]:
        asked.extend(boxes)
        return [np.zeros((96, 96), np.float32) for _ in boxes]

    first, last = remember_all(image, [elsewhere, box], [None, mask], refine)
    assert first is None and last is not None and asked == [box]
    assert np.array_equal(last.share, remembered().share)


def test_frames_without_flow_make_an_outline_uncertain() -> None:
    start = Carried.starting(remembered())
    aged = start.aged(4)
    assert aged.frames == 4 and (aged.way[2] > start.way[2] + 0.2).all()
    assert aged.aged(3) is aged


def still() -> tuple[Image, Box, Mask]:
    """A frame, and the box and the mask of its only object."""
    (shown,) = film(1, [sprite(1)], lambda _, __: (240, 180, 1.5, 10))
    mask = shown.masks[0]
    assert mask is not None
    return shown.image, mask.xyxy, mask


def remembered() -> Origin:
    origin = remember(*still())
    assert origin is not None
    return origin


def test_islands_are_dropped_and_parts_are_kept() -> None:
    odds = np.full((96, 96), -3.0, np.float32)
    odds[10:40, 10:40] = odds[60:80, 60:80] = 3
    odds[85:89, 10:14] = 3
    (shown,) = film(1, [sprite(1)], lambda _, __: (240, 180, 1, 0))
    seen = look(shown.image, (100.0, 100.0, 200.0, 200.0), 96)
    assert seen is not None
    drawn = draw(odds, seen, WIDTH, HEIGHT)
    assert drawn is not None
    full = drawn.paste(HEIGHT, WIDTH)
    place = seen.window

    def at(row: int, column: int) -> bool:
        return bool(full[place.top + row * place.height // 96, place.left + column * place.width // 96])

    assert at(25, 25) and at(70, 70) and not at(87, 12)


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
    assert expected_iou(odds) == pytest.approx(np.mean(ious), abs=0.01)


def test_a_box_outside_the_frame_has_no_origin() -> None:
    mask = Mask(0, 0, np.ones((4, 4), np.bool_))
    assert remember(background(), (-90.0, -90.0, -10.0, -10.0), mask) is None
