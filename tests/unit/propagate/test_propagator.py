from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from support.moving_scenes import HEIGHT, WIDTH, Pose, Shown, Sprite, background, detection, film, sprite

from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import (
    NONE,
    PENDING,
    PROPAGATED,
    REFINED,
    SEGMENTED,
    Detection,
    Image,
    TrackedObject,
)
from streamseg.propagate.crop import ObjectCrop, crop_objects
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask, Refine, make_template
from streamseg.propagate.propagator import Budget, Propagator
from streamseg.window import Plane, mask_plane, window_around

FRAME_NS = 33_000_000
BUDGET = Budget(max_age_ns=10 * 1_000_000_000, missed_frames=5)


def time(seq: int) -> FrameTime:
    return FrameTime(seq, seq * FRAME_NS)


def made(seq: int, shown: Shown, number: int | None = 1, place: int = 0) -> KeyframeMask:
    mask = shown.masks[place]
    assert mask is not None
    item = detection(mask, number)
    return KeyframeMask(time(seq), item, mask, 0.9, 0.8, make_template(shown.image, item.xyxy, mask))


def update(propagator: Propagator, seq: int, shown: Shown) -> tuple[TrackedObject, ...]:
    found = [detection(mask, number) for number, mask in enumerate(shown.masks, 1) if mask is not None]
    objects = propagator.update(time(seq), shown.image, found)
    propagator.refine()
    return objects


def iou(item: TrackedObject, mask: Mask | None) -> float:
    assert item.mask is not None and mask is not None
    return item.mask.iou(mask)


@functools.cache
def straight(speed: float) -> list[Shown]:
    return film(30, [sprite(1)], lambda _, frame: (80 + speed * frame, 180, 1, 0))


def growing(_: int, frame: int) -> Pose:
    return 240, 180, 0.8 + 0.02 * frame, 0


def turning(_: int, frame: int) -> Pose:
    return 240, 180, 1, 2.0 * frame


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda: straight(4), id="translation"),
        pytest.param(lambda: straight(10), id="fast"),
        pytest.param(lambda: film(30, [sprite(1)], growing), id="scale"),
        pytest.param(lambda: film(30, [sprite(2)], turning), id="rotation"),
        pytest.param(
            lambda: film(30, [sprite(1)], lambda _, frame: (100 + 3 * frame, 180, 1, 0), lambda frame: 7 * frame),
            id="camera moves",
        ),
    ],
)
def test_a_mask_follows_its_object(draw: Callable[[], list[Shown]]) -> None:
    shown = draw()
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    ious = [iou(update(propagator, seq, one)[0], one.masks[0]) for seq, one in enumerate(shown)]
    assert ious[0] == 1
    assert min(ious) > 0.85 and np.mean(ious) > 0.93


def test_a_propagated_mask_reports_its_keyframe_and_age() -> None:
    shown = straight(4)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    (first,), *_, (last,) = [update(propagator, seq, one) for seq, one in enumerate(shown[:11])]
    assert (first.method, first.origin_seq, first.age_ms, first.predicted_iou, first.stability) == (
        SEGMENTED,
        0,
        0.0,
        0.9,
        0.8,
    )
    assert (last.method, last.origin_seq, last.age_ms, last.stability) == (PROPAGATED, 0, 330.0, 0.8)
    assert last.predicted_iou is not None and 0.5 < last.predicted_iou < 0.9


def test_a_late_mask_is_warped_to_where_the_object_is() -> None:
    shown = straight(5)
    propagator = Propagator(BUDGET)
    for seq, one in enumerate(shown[:20]):
        (item,) = update(propagator, seq, one)
        assert (item.mask, item.method) == (None, PENDING)
    propagator.add([made(3, shown[3])])
    items = [update(propagator, seq, shown[seq])[0] for seq in (20, 21, 22)]
    assert [item.method for item in items] == [PENDING, PENDING, PROPAGATED], "some steps in each frame"
    assert items[-1].origin_seq == 3
    assert iou(items[-1], shown[22].masks[0]) > 0.9


def test_the_older_mask_counts_while_a_newer_one_is_pending() -> None:
    shown = straight(3)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    for seq, one in enumerate(shown[:20]):
        update(propagator, seq, one)
    propagator.add([made(2, shown[2])])
    items = [update(propagator, seq, shown[seq])[0] for seq in range(20, 26)]
    assert [item.origin_seq for item in items] == [0, 0, 2, 2, 2, 2]
    assert min(iou(item, one.masks[0]) for item, one in zip(items, shown[20:], strict=False)) > 0.9


def test_of_two_pending_masks_the_newer_one_is_adopted() -> None:
    shown = straight(3)
    propagator = Propagator(BUDGET)
    for seq, one in enumerate(shown[:20]):
        update(propagator, seq, one)
    origins = []
    for seq, of in ((20, 2), (21, 6), (22, 4), (23, None), (24, None)):
        if of is not None:
            propagator.add([made(of, shown[of])])
        origins.append(update(propagator, seq, shown[seq])[0].origin_seq)
    assert origins == [None, None, 6, 6, 6]


def test_an_older_mask_never_replaces_a_newer_one() -> None:
    shown = straight(5)
    propagator = Propagator(BUDGET)
    for seq, one in enumerate(shown[:10]):
        update(propagator, seq, one)
    propagator.add([made(8, shown[8])])
    update(propagator, 10, shown[10])
    propagator.add([made(2, shown[2])])
    (item,) = update(propagator, 11, shown[11])
    assert item.origin_seq == 8


def test_a_mask_of_a_frame_to_come_waits_for_it() -> None:
    shown = straight(5)
    propagator = Propagator(BUDGET)
    propagator.add([made(2, shown[2])])
    methods = [update(propagator, seq, one)[0].method for seq, one in enumerate(shown[:4])]
    assert methods == [PENDING, PENDING, SEGMENTED, PROPAGATED]


def test_two_objects_that_cross_keep_their_own_masks() -> None:
    """The one in front hides the other; both have their own masks again afterwards."""

    def crossing(index: int, frame: int) -> Pose:
        return (100 + 8 * frame, 170, 1, 0) if index == 0 else (380 - 8 * frame, 190, 1, 0)

    shown = film(32, [sprite(1), sprite(5)], crossing)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0], 1, 0), made(0, shown[0], 2, 1)])
    for seq, one in enumerate(shown):
        behind, front = update(propagator, seq, one)[:2]
        assert iou(front, one.masks[1]) > 0.75, seq
        own = one.masks[0]
        assert own is not None
        if own.area > 0.5 * shown[0].masks[0].area:  # type: ignore[union-attr]
            assert iou(behind, own) > 0.6, seq
    assert iou(behind, shown[-1].masks[0]) > 0.8


def test_a_hidden_object_does_not_smear() -> None:
    """It moves behind a wall, and its mask never covers much else."""
    wall = background(3)[:, :90]
    shown = straight(8)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    for seq, one in enumerate(shown):
        image = one.image.copy()
        image[:, 250:340] = wall
        mask = one.masks[0]
        assert mask is not None
        visible = mask.paste(HEIGHT, WIDTH)
        visible[:, 250:340] = False
        left = Mask.crop(visible)
        found = [] if left is None else [detection(left, 1)]
        for item in propagator.update(time(seq), image, found):
            if item.mask is not None and left is not None:
                wrong = np.count_nonzero(item.mask.paste(HEIGHT, WIDTH) & ~visible)
                assert wrong < 0.35 * mask.area, seq


def test_an_object_that_is_uncovered_keeps_its_mask() -> None:
    """Its box always covers the whole object, its mask more and more of it."""
    wall = background(3)[:, :170]
    propagator = Propagator(BUDGET)
    for seq, one in enumerate(straight(4)):
        image, whole = one.image.copy(), one.masks[0]
        image[:, :170] = wall
        assert whole is not None
        visible = whole.paste(HEIGHT, WIDTH)
        visible[:, :170] = False
        mask, found = Mask.crop(visible), detection(whole, 1)
        if seq == 16:
            assert mask is not None and mask.area < 0.15 * whole.area
            propagator.add([KeyframeMask(time(seq), found, mask, template=make_template(image, found.xyxy, mask))])
        (item,) = propagator.update(time(seq), image, [found])
        if seq >= 16:
            assert iou(item, mask) > 0.5, seq


def test_a_missed_object_is_kept_for_a_few_frames() -> None:
    shown = straight(5)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    for seq, one in enumerate(shown[:10]):
        update(propagator, seq, one)
    for seq in range(10, 15):
        (item,) = propagator.update(time(seq), shown[seq].image, [])
        assert item.method == PROPAGATED and item.detection.tracker_id == 1
        assert iou(item, shown[seq].masks[0]) > 0.8
    assert propagator.update(time(15), shown[15].image, []) == ()


def test_a_single_miss_of_a_slow_detector_costs_no_object() -> None:
    """It runs on one frame in eight."""
    shown = straight(4)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    for seq, one in enumerate(shown):
        found = [detection(one.masks[0], 1)] if seq != 8 else []  # type: ignore[arg-type]
        (item,) = propagator.update(time(seq), one.image, found if seq % 8 == 0 else None)
        assert iou(item, one.masks[0]) > 0.8, seq
    last = [propagator.update(time(30 + seq), background(), [] if seq % 8 == 2 else None) for seq in range(12)]
    assert last[-1] == ()


def test_an_object_that_disappears_leaves_no_ghost() -> None:
    shown = straight(5)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    for seq, one in enumerate(shown[:10]):
        update(propagator, seq, one)
    assert propagator.update(time(10), background(), []) == ()
    (empty,) = propagator.update(time(11), background(), [detection(shown[9].masks[0], 1)])  # type: ignore[arg-type]
    assert empty.mask is None and empty.method == PENDING


def test_an_object_that_returns_under_its_number_has_its_mask_again() -> None:
    shown = straight(4)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    items = [
        update(propagator, seq, Shown(one.image, () if 10 <= seq < 18 else one.masks)) for seq, one in enumerate(shown)
    ]
    assert [len(each) for each in items[10:18]] == [1] * 5 + [0] * 3
    assert all(
        item.method == PROPAGATED and iou(item, one.masks[0]) > 0.85
        for (item,), one in zip(items[18:], shown[18:], strict=True)
    )


def test_an_object_that_leaves_the_frame_keeps_the_mask_of_its_visible_part() -> None:
    card = Sprite(sprite(1).picture, np.full((120, 120), 255, np.uint8))
    shown = film(22, [card], lambda _, frame: (400 + 6 * frame, 180, 1, 0))
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    widths = []
    for seq, one in enumerate(shown):
        (item,) = update(propagator, seq, one)
        mask = one.masks[0]
        assert item.mask is not None and mask is not None, seq
        widths.append(mask.bits.shape[1])
        assert iou(item, mask) > 0.8, seq
    assert widths[-1] < widths[0] / 7


def test_without_new_detections_objects_move_by_flow() -> None:
    shown = straight(5)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    for seq, one in enumerate(shown[:5]):
        update(propagator, seq, one)
    for seq in range(5, 20):
        (item,) = propagator.update(time(seq), shown[seq].image, None)
    assert iou(item, shown[19].masks[0]) > 0.75


def test_boxes_of_an_older_frame_are_predicted() -> None:
    """The detector is three frames late; the object moves 8 pixels per frame."""
    shown = straight(8)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    for seq, one in enumerate(shown[:4]):
        update(propagator, seq, one)
    for seq in range(4, 24):
        late = shown[seq - 3].masks[0]
        assert late is not None
        (item,) = propagator.update(time(seq), shown[seq].image, [detection(late, 1)], found_on=seq - 3)
        assert iou(item, shown[seq].masks[0]) > 0.85, seq
        true = shown[seq].masks[0]
        assert true is not None and abs(item.detection.xyxy[0] - true.xyxy[0]) < 6


@pytest.mark.parametrize(("back", "bound"), [(1, 4), (3, 8)])
def test_boxes_of_a_frame_that_was_skipped_are_predicted(back: int, bound: int) -> None:
    """Publish gets every second frame, detect the ones between."""
    shown = straight(8)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    for seq in range(0, len(shown), 2):
        found_on = max(seq - back, 0)
        old, now = shown[found_on].masks[0], shown[seq].masks[0]
        assert old is not None and now is not None
        (item,) = propagator.update(time(seq), shown[seq].image, [detection(old, 1)], found_on=found_on)
        if seq >= 8:
            assert item.detection.xyxy[0] == pytest.approx(now.xyxy[0], abs=bound), seq


def swinging(_: int, frame: int) -> Pose:
    """Back and forth by 30 pixels in eight frames: no motion lasts."""
    return 240 + 30 * math.sin(frame * math.pi / 4), 180, 1, 0


def update_late(propagator: Propagator, shown: Sequence[Shown], late: int, seqs: Sequence[int]) -> list[float]:
    """The IoU in each of those frames, where boxes are so many frames late but for the first ones."""
    ious = []
    for seq in seqs:
        found_on = seq if seq <= late else seq - late
        then, now = shown[found_on].masks[0], shown[seq].masks[0]
        assert then is not None
        (item,) = propagator.update(time(seq), shown[seq].image, [detection(then, 1)], found_on=found_on)
        propagator.refine()
        ious.append(iou(item, now))
    return ious


def test_flow_corrects_late_boxes_of_an_object_that_turns_back() -> None:
    shown = film(28, [sprite(1)], swinging)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    assert min(update_late(propagator, shown, 3, range(28))) > 0.9


def test_a_refinement_fits_the_object_also_where_boxes_are_late() -> None:
    """A network that returns the truth improves masks, wherever the object was predicted."""
    shown, newest = film(28, [sprite(1)], swinging), [0]
    propagator = Propagator(BUDGET, knowing(shown, newest))
    propagator.add([made(0, shown[0])])
    for seq in range(28):
        newest.append(seq)
        (quality,) = update_late(propagator, shown, 3, [seq])
        assert quality > 0.93, seq


def test_an_object_keeps_its_speed_over_dropped_frames() -> None:
    shown = straight(12)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    for seq in range(4):
        update(propagator, seq, shown[seq])
    for seq in (8, 9, 10, 11):
        (item,) = propagator.update(time(seq), shown[seq].image, None)
        assert iou(item, shown[seq].masks[0]) > 0.8, seq


def test_missed_objects_count_for_the_size_of_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = film(
        3,
        [sprite(number, 60) for number in range(8)],
        lambda index, _: (60 + 110 * (index % 4), 90 + 150 * (index // 4), 1, 0),
    )
    sides = []

    def noted(image: Image, boxes: Sequence[Box], side: int) -> list[ObjectCrop | None]:
        sides.append(side)
        return crop_objects(image, boxes, side)

    monkeypatch.setattr("streamseg.propagate.batch.crop_objects", noted)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0], number + 1, number) for number in range(8)])
    for seq in (0, 1):
        assert len(update(propagator, seq, shown[seq])) == 8
    assert len(propagator.update(time(2), shown[2].image, [])) == 8
    assert len(set(sides)) == 1


def test_of_two_masks_for_one_object_and_frame_the_first_stays() -> None:
    shown = straight(5)
    propagator = Propagator(BUDGET)
    own = made(0, shown[0], None)
    left, top, right, bottom = own.detection.xyxy
    stranger = KeyframeMask(
        own.frame,
        detection(Mask(0, 0, np.ones((1, 1), np.bool_)), None, (left + 20, top, right + 20, bottom)),
        own.mask,
    )
    propagator.add([own, stranger])
    mask = shown[0].masks[0]
    assert mask is not None
    propagator.update(time(0), shown[0].image, [detection(mask, None)])
    mask = shown[1].masks[0]
    assert mask is not None
    (item,) = propagator.update(time(1), shown[1].image, [detection(mask, None)])
    assert item.method == PROPAGATED


def test_a_late_box_of_an_object_that_leaves_the_frame_is_predicted() -> None:
    """Boxes of the whole star, three frames or 18 pixels late, until half of it has left the frame."""
    shown = film(30, [sprite(1)], lambda _, frame: (110 - 6 * frame, 180, 1, 0))
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    for seq, one in enumerate(shown[:4]):
        update(propagator, seq, one)
    for seq in range(4, 19):
        late = detection(
            Mask(0, 0, np.ones((1, 1), np.bool_)), 1, (60 - 6.0 * (seq - 3), 130, 160 - 6.0 * (seq - 3), 230)
        )
        (item,) = propagator.update(time(seq), shown[seq].image, [late], found_on=seq - 3)
        assert abs(item.detection.xyxy[0] - (60 - 6 * seq)) < 5, seq


@pytest.mark.parametrize("late", [0, 3])
def test_prefetching_changes_no_result(late: int) -> None:
    """A second object appears, the first is missed once, and one box lies far from its prediction."""
    shown = film(24, [sprite(1), sprite(2)], lambda place, frame: (110 + 5 * frame + 190 * place, 180, 1, 2 * frame))

    def results(early: bool) -> list[list[tuple[Detection, str, float | None, bytes]]]:
        propagator, newest = Propagator(BUDGET, EverythingNetwork()), []
        propagator.add([made(0, shown[0])])
        for seq, one in enumerate(shown):
            if early:
                propagator.prefetch(time(seq), one.image)
            found = [
                detection(mask, number)
                for number, mask in enumerate(shown[max(seq - late, 0)].masks, 1)
                if mask is not None
            ]
            found = found[: 1 if seq < 6 else 2] if seq != 12 else found[1:]
            if seq == 18:
                found[0] = detection(Mask(0, 0, np.ones((1, 1), np.bool_)), 1, (300.0, 100.0, 400.0, 200.0))
            items = propagator.update(time(seq), one.image, found, found_on=max(seq - late, 0))
            pixels = [b"" if item.mask is None else item.mask.paste(HEIGHT, WIDTH).tobytes() for item in items]
            newest.append(
                [(each.detection, each.method, each.predicted_iou, of) for each, of in zip(items, pixels, strict=True)]
            )
            propagator.refine()
        return newest

    assert results(True) == results(False)


def test_what_was_prefetched_is_not_cropped_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, seen = straight(5), [0]

    def counted(image: Image, boxes: Sequence[Box], side: int) -> list[ObjectCrop | None]:
        seen[0] += len(boxes)
        return crop_objects(image, boxes, side)

    monkeypatch.setattr("streamseg.propagate.batch.crop_objects", counted)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    for seq, one in enumerate(shown[:10]):
        propagator.prefetch(time(seq), one.image)
        update(propagator, seq, one)
    assert seen == [10]


def test_motion_before_the_mask_arrived_counts() -> None:
    """Every fourth frame brings boxes of two frames before; the mask of frame 0 arrives with frame 13."""
    shown = straight(8)
    propagator = Propagator(BUDGET)
    update(propagator, 0, shown[0])
    for seq in range(1, 17):
        if seq == 13:
            propagator.add([made(0, shown[0])])
        late = shown[seq - 2].masks[0] if seq % 4 == 0 else None
        found = None if late is None else [detection(late, 1)]
        (item,) = propagator.update(time(seq), shown[seq].image, found, found_on=seq - 2)
    true = shown[16].masks[0]
    assert true is not None and abs(item.detection.xyxy[0] - true.xyxy[0]) < 8


def test_stale_masks_are_dropped() -> None:
    shown = straight(5)
    propagator = Propagator(Budget(max_age_ns=5 * FRAME_NS))
    propagator.add([made(0, shown[0])])
    methods = [update(propagator, seq, one)[0].method for seq, one in enumerate(shown[:8])]
    assert methods == [SEGMENTED, *[PROPAGATED] * 5, PENDING, PENDING]


def test_a_refinement_replaces_a_stale_mask() -> None:
    shown = straight(5)
    propagator = Propagator(Budget(max_age_ns=5 * FRAME_NS), EverythingNetwork())
    propagator.add([made(0, shown[0])])
    items = [update(propagator, seq, one)[0] for seq, one in enumerate(shown[:10])]
    assert [item.origin_seq for item in items[:6]] == [0] * 6
    assert items[9].method == REFINED and items[9].origin_seq == 8


def test_an_object_for_which_the_segmenter_found_no_mask_is_marked() -> None:
    shown = straight(5)
    propagator = Propagator(BUDGET)
    mask = shown[0].masks[0]
    assert mask is not None
    propagator.add([KeyframeMask(time(0), detection(mask, 1), None)])
    assert [update(propagator, seq, one)[0].method for seq, one in enumerate(shown[:3])] == [NONE] * 3


def test_a_late_mask_without_a_number_goes_to_the_object_that_was_there() -> None:
    """By then, the one behind is where the one in front was."""
    shown = film(36, [sprite(1, 100), sprite(2, 100)], lambda index, frame: (60 + 130 * index + 5 * frame, 180, 1, 0))
    propagator = Propagator(BUDGET)
    for seq, one in enumerate(shown):
        if seq == 26:
            propagator.add([made(0, shown[0], None, place) for place in (1, 0)])
        items = propagator.update(
            time(seq), one.image, [detection(mask, None) for mask in one.masks if mask is not None]
        )
    assert all(iou(item, mask) > 0.85 for item, mask in zip(items, shown[-1].masks, strict=True))


def test_late_boxes_without_a_number_make_no_second_object() -> None:
    shown = straight(10)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0], None)])
    for seq, one in enumerate(shown):
        found_on = max(seq - 5, 0)
        old = shown[found_on].masks[0]
        assert old is not None
        (item,) = propagator.update(time(seq), one.image, [detection(old, None)], found_on=found_on)
        assert iou(item, one.masks[0]) > (0.8 if seq > 8 else 0), seq


def test_a_pending_mask_survives_a_new_number_of_its_object() -> None:
    shown = straight(4)
    propagator = Propagator(BUDGET)
    for seq, one in enumerate(shown):
        if seq == 20:
            propagator.add([made(5, shown[5])])
        mask, number = one.masks[0], 1 if seq < 10 else 7
        assert mask is not None
        (item,) = propagator.update(time(seq), one.image, [detection(mask, number)])
    assert item.detection.tracker_id == 7
    assert iou(item, shown[-1].masks[0]) > 0.85


def test_objects_without_a_number_are_matched_by_their_boxes() -> None:
    shown = straight(5)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0], None)])
    for seq, one in enumerate(shown[:10]):
        mask = one.masks[0]
        assert mask is not None
        (item,) = propagator.update(time(seq), one.image, [detection(mask, None if seq < 5 else 7)])
        assert iou(item, mask) > 0.85


def test_a_new_frame_size_drops_all_tracks() -> None:
    shown = straight(5)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    update(propagator, 0, shown[0])
    mask = shown[1].masks[0]
    assert mask is not None
    (item,) = propagator.update(time(1), np.ascontiguousarray(shown[1].image[:-40]), [detection(mask, 1)])
    assert item.method == PENDING


@pytest.mark.parametrize(
    "box", [(-500.0, -500.0, -400.0, -400.0), (0.0, 0.0, 1.0, 1.0), (-1e6, -1e6, 1e6, 1e6), (10.0, 10.0, 10.0, 10.0)]
)
def test_any_box_is_harmless(box: Box) -> None:
    shown = straight(5)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    mask = shown[0].masks[0]
    assert mask is not None
    for seq in range(6):
        item = propagator.update(time(seq), shown[seq].image, [detection(mask, 1, None if seq % 3 == 0 else box)])[0]
        assert item.mask is None or item.mask.inside(HEIGHT, WIDTH)


class EverythingNetwork:
    """A refinement network that takes everything for the object, and records its boxes."""

    def __init__(self) -> None:
        self.runs: list[list[Box]] = []

    def __call__(self, image: Image, boxes: Sequence[Box]) -> list[Plane]:
        self.runs.append(list(boxes))
        return [np.full((96, 96), 4.0, np.float32) for _ in boxes]


def test_the_network_refines_a_few_objects_in_turn() -> None:
    shown = film(
        12, [sprite(number, 70) for number in range(6)], lambda index, frame: (50 + 75 * index, 100 + 4 * frame, 1, 0)
    )
    refine = EverythingNetwork()
    propagator = Propagator(BUDGET, refine)
    for seq, one in enumerate(shown):
        items = update(propagator, seq, one)
    assert {len(boxes) for boxes in refine.runs} == {1}
    assert all(item.method == REFINED for item in items)
    assert len({box for boxes in refine.runs[:6] for box in boxes}) == 6


def test_in_a_hurry_only_objects_without_a_mask_are_refined() -> None:
    shown = straight(5)
    refine = EverythingNetwork()
    propagator = Propagator(BUDGET, refine)
    propagator.add([made(0, shown[0])])
    mask = shown[0].masks[0]
    assert mask is not None
    for seq, one in enumerate(shown[:8]):
        true = one.masks[0]
        assert true is not None
        new = [detection(mask, 2, (300.0, 20.0, 400.0, 120.0))] if seq == 6 else []
        propagator.update(time(seq), one.image, [detection(true, 1), *new])
        propagator.refine(hurried=True)
    assert refine.runs == [[(300.0, 20.0, 400.0, 120.0)]]


def test_in_a_hurry_an_object_whose_mask_is_not_trusted_is_refined() -> None:
    shown = straight(5)
    refine = EverythingNetwork()
    propagator = Propagator(BUDGET, refine)
    propagator.add([made(0, shown[0])])
    for seq, one in enumerate([*shown[:8], Shown(background(), shown[8].masks)]):
        (mask,) = one.masks
        assert mask is not None
        (item,) = propagator.update(time(seq), one.image, [detection(mask, 1)])
        assert (item.mask is None) == (seq == 8)
        propagator.refine(hurried=True)
    assert refine.runs == [[item.detection.xyxy]]


def test_an_object_that_refinement_does_not_help_waits() -> None:
    shown = film(
        40, [sprite(number, 90) for number in (1, 2, 3)], lambda index, frame: (70 + 120 * index, 120, 1, 4.0 * frame)
    )
    nowhere = (400.0, 250.0, 470.0, 340.0)
    refined: list[Box] = []

    def refine(_: Image, boxes: Sequence[Box]) -> list[Plane]:
        refined.extend(boxes)
        return [np.full((96, 96), -0.5 if box == nowhere else 4.0, np.float32) for box in boxes]

    propagator = Propagator(BUDGET, refine)
    propagator.add([made(0, shown[0], place + 1, place) for place in range(3)])
    for seq, one in enumerate(shown):
        found = [detection(mask, number) for number, mask in enumerate(one.masks, 1) if mask is not None]
        propagator.update(time(seq), one.image, [*found, detection(one.masks[0], 9, nowhere)])  # type: ignore[arg-type]
        propagator.refine()
    assert len(refined) > 30
    assert 0 < refined.count(nowhere) <= len(refined) / 4


def test_a_refinement_draws_a_new_object_from_the_next_frame_on() -> None:
    shown = straight(5)
    propagator = Propagator(BUDGET, EverythingNetwork())
    assert update(propagator, 0, shown[0])[0].method == PENDING
    (item,) = update(propagator, 1, shown[1])
    assert (item.method, item.origin_seq, item.age_ms) == (REFINED, 0, FRAME_NS / 1e6)


def knowing(shown: Sequence[Shown], newest: list[int]) -> Refine:
    """A refinement network that returns the truth of the newest frame."""

    def logits(box: Box) -> Plane:
        mask, window = shown[newest[-1]].masks[0], window_around(box, WIDTH, HEIGHT)
        assert mask is not None and window is not None
        plane: Plane = 12 * mask_plane(mask, window, 96) - 6
        return plane

    return lambda _, boxes: [logits(box) for box in boxes]


def test_a_missed_object_with_a_refinement_alone_is_kept() -> None:
    shown, newest = straight(5), [0]
    propagator = Propagator(BUDGET, knowing(shown, newest))
    for seq in range(10):
        newest.append(seq)
        update(propagator, seq, shown[seq])
    for seq in range(10, 15):
        (item,) = propagator.update(time(seq), shown[seq].image, [])
        assert (item.method, item.detection.tracker_id, item.origin_seq) == (REFINED, 1, 9)
        assert iou(item, shown[seq].masks[0]) > 0.8
    (found,) = update(propagator, 15, shown[15])
    assert found.method == REFINED and iou(found, shown[15].masks[0]) > 0.8


def test_an_object_with_a_refinement_alone_leaves_no_ghost() -> None:
    shown, newest = straight(5), [0]
    propagator = Propagator(BUDGET, knowing(shown, newest))
    for seq in range(10):
        newest.append(seq)
        update(propagator, seq, shown[seq])
    assert propagator.update(time(10), background(), []) == ()


def test_a_single_false_detection_makes_no_object() -> None:
    shown, newest = straight(0), [0]
    propagator = Propagator(BUDGET, knowing(shown, newest))
    update(propagator, 0, shown[0])
    assert propagator.update(time(1), shown[1].image, []) == ()


@pytest.mark.parametrize("late", [0, 2])
def test_an_object_missed_right_after_its_first_frame_keeps_its_mask(late: int) -> None:
    """Its mask is known on its first frame: of that frame, or of the older one of its box."""
    shown = straight(5)
    propagator = Propagator(BUDGET)
    propagator.add([made(0, shown[0])])
    mask = shown[0].masks[0]
    assert mask is not None
    propagator.update(time(late), shown[late].image, [detection(mask, 1)], found_on=0)
    (item,) = propagator.update(time(late + 1), shown[late + 1].image, [])
    assert item.method == PROPAGATED


def test_masks_kept_for_lost_objects_stay_few() -> None:
    shown = straight(5)[0]
    propagator = Propagator(Budget(max_age_ns=10 * FRAME_NS, missed_frames=5))
    mask = shown.masks[0]
    assert mask is not None
    for seq in range(60):
        propagator.add([made(seq, shown, 1000 + seq)])
        propagator.update(time(seq), shown.image, [detection(mask, seq + 1)])
    assert len(propagator._tracks) == 1
    assert len(propagator._waiting) <= 11
