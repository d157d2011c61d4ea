from __future__ import annotations

import numpy as np
from support.moving_scenes import HEIGHT, WIDTH, Shown, background, detection, film, sprite

from streamseg.geometry import Box
from streamseg.messages import Detection, Image
from streamseg.propagate.batch import locate_tracks, observe
from streamseg.propagate.crop import FlowFinder
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask, make_template
from streamseg.propagate.motion import Measured, Position, Predicted, Unpredictable
from streamseg.propagate.track import Track
from streamseg.window import Plane, mask_plane, window_around

FRAME_NS = 33_000_000
SPEED = 5


def scene(frames: int = 4) -> list[Shown]:
    return film(frames, [sprite(1)], lambda _, frame: (120 + SPEED * frame, 180, 1, 0))


def found(shown: Shown) -> Detection:
    (mask,) = shown.masks
    assert mask is not None
    return detection(mask, 1)


def time(seq: int) -> FrameTime:
    return FrameTime(seq, seq * FRAME_NS)


def made(seq: int, shown: Shown) -> KeyframeMask:
    item, (mask,) = found(shown), shown.masks
    assert mask is not None
    return KeyframeMask(time(seq), item, mask, template=make_template(shown.image, item.xyxy, mask))


def see(track: Track, seq: int, image: Image, position: Position, around: Box | None = None) -> None:
    (observation,) = observe([track], seq, image, [around or position.detection.xyxy], 120, FlowFinder())
    track.update(seq, position, observation)


def followed(shown: list[Shown], mask_on: int = 0) -> Track:
    """A track with a mask over all those frames."""
    track = Track(found(shown[0]))
    for seq, one in enumerate(shown):
        see(track, seq, one.image, Measured(found(one)))
        if seq == mask_on:
            track.add_keyframe_mask(made(seq, one))
            track.adopt_pending(time(seq))
    return track


def test_a_query_changes_nothing() -> None:
    shown = scene()
    track = followed(shown)
    path, state = track.path, {name: value for name, value in vars(track).items() if name != "_detections"}
    first = locate_tracks([track], WIDTH, HEIGHT)[0]
    second = locate_tracks([track], WIDTH, HEIGHT)[0]
    track.predict(4, track.detection, 3)
    observe([track], 4, shown[3].image, [track.detection.xyxy], 120, FlowFinder())
    _ = track.refinable, track.refined_logits, track.mask_frame, track.newest_keyframe_mask, track.mask_without_flow()
    assert all(getattr(track, name) is value for name, value in state.items()) and track.path is path
    assert first.mask is not None and second.mask is not None
    assert first.mask.iou(second.mask) == 1 and first.expected_iou == second.expected_iou > 0.5


def test_flow_corrects_a_predicted_position_and_leaves_others() -> None:
    """The prediction is 4 pixels short of where the object is."""
    shown = scene(5)
    true = found(shown[4])
    late = detection(shown[4].masks[0], 1, (true.xyxy[0] - 4, *true.xyxy[1:]))  # type: ignore[arg-type]
    corrected, unpredictable = followed(shown[:4]), followed(shown[:4])
    see(corrected, 4, shown[4].image, Predicted(late, (SPEED - 4.0, 0.0)), true.xyxy)
    see(unpredictable, 4, shown[4].image, Unpredictable(late), true.xyxy)
    assert abs(corrected.detection.xyxy[0] - true.xyxy[0]) < 1
    assert unpredictable.detection == late


def test_an_object_outside_the_frame_keeps_its_aging_mask() -> None:
    shown = scene()
    track = followed(shown)
    assert track.mask is not None
    before = track.mask
    outside = detection(shown[0].masks[0], 1, (-200.0, -200.0, -100.0, -100.0))  # type: ignore[arg-type]
    see(track, 4, shown[3].image, Measured(outside))
    assert track.crop is None and track.mask is not None
    assert track.mask.frames == before.frames + 1
    assert (track.mask.offsets[..., 2] > before.offsets[..., 2]).all()
    assert track.predict(5, outside, 4) == Unpredictable(outside)
    assert locate_tracks([track], WIDTH, HEIGHT)[0].mask is None


def test_a_pending_mask_counts_when_it_is_adopted() -> None:
    shown = scene()
    track = followed(shown)
    newer = made(2, shown[2])
    track.add_keyframe_mask(newer)
    assert track.newest_keyframe_mask is newer
    assert track.keyframe_mask is not None and track.keyframe_mask.frame.seq == 0
    track.adopt_pending(time(3))
    assert track.keyframe_mask is newer and track.pending is None
    assert track.mask is not None and track.mask.frames == 1


def test_an_old_mask_expires_and_the_refinement_still_counts() -> None:
    shown = scene()
    track = followed(shown)
    track.refine(time(3), np.full((96, 96), 4.0, np.float32))
    masked = []
    for oldest_ns in (0, 1):
        track.expire(oldest_ns)
        masked.append(track.mask is not None and track.keyframe_mask is not None)
    assert masked == [True, False]
    assert track.mask_frame == time(3) and track.refined_logits is not None


def test_a_missed_object_loses_a_refinement_that_no_longer_recognises_it() -> None:
    shown = scene()
    (mask,), window = shown[0].masks, window_around(found(shown[0]).xyxy, WIDTH, HEIGHT)
    assert mask is not None and window is not None
    logits: Plane = 12 * mask_plane(mask, window, 96) - 6
    kept, lost = Track(found(shown[0])), Track(found(shown[0]))
    for track, image in ((kept, shown[1].image), (lost, background())):
        see(track, 0, shown[0].image, Measured(found(shown[0])))
        track.refine(time(0), logits)
        track.mark_missed(answered=True)
        see(track, 1, image, track.predict(1, track.detection, 0))
    assert kept.refinement is not None
    assert lost.refinement is None
