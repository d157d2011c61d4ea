"""What is computed for all tracks of a frame at once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.propagate.crop import FlowFinder, ObjectCrop, crop_objects, thinned
from streamseg.propagate.keyframe_mask import FrameTime
from streamseg.propagate.overlaps import draw, expected_ious, remove_overlaps
from streamseg.propagate.track import Observation, Track
from streamseg.propagate.warp import WarpedMask, WarpedMasks, locate, object_flows
from streamseg.window import Plane, window_around

_STEPS_PER_FRAME = 8
"""Steps of late masks per frame: a mask three seconds old arrives after about half a second."""
_SHARED_MISTAKES = 0.1
"""Share of the expected IoU that a warped mask loses: neighbouring pixels are wrong together. Chosen by hand."""
_SHARED_FRAMES = 15
"""Frames after which it has lost that. Both calibrate `predicted_iou`, which the propagation benchmark checks."""
_LEAST_EXPECTED_IOU = 0.5
"""A mask below that is not shown. Chosen by hand."""
_LEAST_FILLED = 0.3
"""How much of its box a mask must fill, as a share of what it filled on its keyframe. Chosen by hand."""


def observe(
    tracks: Sequence[Track], seq: int, image: Image, boxes: Sequence[Box], side: int, finder: FlowFinder
) -> list[Observation | None]:
    """Observe each track around a box in frame `seq`, the next one; None for a box outside the frame.

    Args:
        tracks: The objects.
        seq: The frame.
        image: Its pixels, shape (height, width, 3), uint8, BGR.
        boxes: One for each track.
        side: Of the crops.
        finder: Computes the flow.
    """
    observations: list[Observation | None] = [None] * len(tracks)
    moving: list[tuple[int, ObjectCrop, ObjectCrop]] = []
    for place, (track, crop) in enumerate(zip(tracks, crop_objects(image, boxes, side), strict=True)):
        if crop is not None and track.crop is not None:
            moving.append((place, track.crop, crop))
        elif crop is not None:
            observations[place] = Observation(crop, None, track.mask_without_flow())
    flows = finder.between(
        [before for _, before, _ in moving],
        [after for _, _, after in moving],
        [tracks[place].path.motion_to(seq) for place, _, _ in moving],
    )
    masks = {row: mask for row, (place, _, _) in enumerate(moving) if (mask := tracks[place].mask) is not None}
    rows = list(masks)
    if rows:
        batch = WarpedMasks.stack(list(masks.values()))
        shares = batch.shares_after(flows[rows])
        flows[rows] = object_flows(flows[rows], shares)
        batch = batch.warped(flows[rows], shares)
        masks = {row: batch[index] for index, row in enumerate(rows)}
    for row, (place, _, crop) in enumerate(moving):
        observations[place] = Observation(crop, flows[row, None], masks.get(row))
    return observations


def advance_pending(tracks: Sequence[Track], now: FrameTime) -> None:
    """Warp late keyframe masks towards the newest frame: some steps in each frame, so that none takes long."""
    late = [(track, pending) for track in tracks if (pending := track.pending) is not None]
    flows = [dict(track.path.flows_after(pending.seq)) for track, pending in late]
    masks = [pending.mask for _, pending in late]
    for seq in sorted({seq for of_track in flows for seq in of_track})[:_STEPS_PER_FRAME]:
        rows = [row for row, of_track in enumerate(flows) if seq in of_track]
        flow = np.concatenate([flows[row][seq] for row in rows])
        batch = WarpedMasks.stack([masks[row] for row in rows])
        batch = batch.warped(flow, batch.shares_after(flow))
        for index, row in enumerate(rows):
            masks[row] = batch[index]
            late[row][0].advance_pending(seq, masks[row])
    for (track, _), of_track in zip(late, flows, strict=True):
        if track.pending is not None and track.pending.seq >= max(of_track, default=track.pending.seq):
            track.adopt_pending(now)


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """An object in the newest frame.

    Attributes:
        warped: Its warped mask, put back to rest if it has drifted.
        mask: What is shown; None if the mask cannot be trusted.
        expected_iou: IoU with the true mask to expect; 0 if none is shown.
    """

    warped: WarpedMask | None
    mask: Mask | None
    expected_iou: float


def locate_tracks(tracks: Sequence[Track], width: int, height: int) -> list[Located]:
    """Locate all objects in their newest crops, and draw those masks that can be trusted in a frame of that size."""
    warped = [track.mask for track in tracks]
    logits = [track.refined_logits for track in tracks]
    places: list[int] = []
    masks: list[WarpedMask] = []
    crops: list[ObjectCrop] = []
    for place, track in enumerate(tracks):
        if track.mask is not None and track.crop is not None:
            places.append(place)
            masks.append(track.mask)
            crops.append(track.crop)
    if places:
        refinements = [tracks[place].refinement for place in places]
        refined = [None if refinement is None else refinement.logits for refinement in refinements]
        batch, combined = locate(WarpedMasks.stack(masks), crops, refined)
        for row, place in enumerate(places):
            warped[place], logits[place] = batch[row], combined[row]
    expected = _expected_ious(tracks, logits)
    drawn = {
        place: draw(plane, track.crop.window, width, height)
        for place, (track, plane) in enumerate(zip(tracks, logits, strict=True))
        if expected[place] and plane is not None and track.crop is not None
    }
    shown = dict(zip(drawn, remove_overlaps(list(drawn.values())), strict=True))
    return [Located(warped[place], shown.get(place), expected[place]) for place in range(len(tracks))]


def _expected_ious(tracks: Sequence[Track], logits: Sequence[Plane | None]) -> list[float]:
    """The IoU to expect of each track's mask, by its log-odds in its newest crop; 0 if it cannot be trusted."""
    expected = [0.0] * len(tracks)
    known = [(place, thinned(plane)) for place, plane in enumerate(logits) if plane is not None]
    if known:
        small = np.stack([plane for _, plane in known])
        independent, filled = expected_ious(small), (small > 0).mean(axis=(1, 2))
        for row, (place, _) in enumerate(known):
            track = tracks[place]
            frames = 0 if track.mask is None else track.mask.frames
            expected_iou = float(independent[row]) * (1 - _SHARED_MISTAKES * min(1.0, frames / _SHARED_FRAMES))
            if expected_iou >= _LEAST_EXPECTED_IOU and _fills_box(track, float(filled[row])):
                expected[place] = expected_iou
    return expected


def _fills_box(track: Track, filled: float) -> bool:
    """Whether a mask that fills so much of its crop still agrees with the box, in comparison with the keyframe."""
    if track.mask is None or track.keyframe_mask is None or track.crop is None:
        return True
    crop = track.crop
    share = _box_share(track.keyframe_mask.detection.xyxy, *crop.frame_size)
    if share is None:
        return True
    on_keyframe = track.mask.template.filled / max(share, 1e-6)
    return filled >= _LEAST_FILLED * on_keyframe * crop.window.share_of(crop.box, *crop.frame_size)


@functools.lru_cache(maxsize=256)
def _box_share(box: Box, width: int, height: int) -> float | None:
    """How much of its window a keyframe's box covers, in a frame of that size; None outside of it."""
    window = window_around(box, width, height)
    return None if window is None else window.share_of(box, width, height)
