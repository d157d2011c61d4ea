"""Follows all objects of a source over frames and propagates their masks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from streamseg.geometry import Box, box_iou, similar_pairs
from streamseg.masks import Mask
from streamseg.messages import MOVED, PROPAGATED, REFINED, Detection, Image, TrackedObject
from streamseg.propagate.batch import advance_pending, locate_tracks, observe
from streamseg.propagate.crop import FLOW_SIDE, FlowFinder, similar_windows
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask, Refine
from streamseg.propagate.motion import Measured, Position, Predicted
from streamseg.propagate.moved import Move, moved_masks
from streamseg.propagate.track import Observation, Track
from streamseg.propagate.turns import choose

_SAME_OBJECT_IOU = 0.5
"""Overlap of boxes of one object: as most trackers and benchmarks have it."""
_PATIENCE = 3
"""Factor on `missed_frames` until the detector has missed an object twice: it may run only every eighth frame."""
_SIDES = (5 * FLOW_SIDE, 3 * FLOW_SIDE, 2 * FLOW_SIDE)
"""Sides of crops, in pixels."""
_PIXELS_PER_FRAME = 3 * 120**2
"""Pixels of all crops of a frame: what one core processes in 5 to 7 ms. More than six objects take longer."""
_REFINED_PER_FRAME = 1
"""Objects refined per frame: each takes about 3 ms."""
_UNREFINED_PENALTY = 0.05
"""Expected IoU that each frame without refinement counts, when objects are chosen. Chosen by hand."""
_LONGEST_DELAY = 150
"""Frames after which no mask of a keyframe is expected any more: five seconds."""
_MOST_WAITING = 128
"""Masks kept for objects that may come back."""
_RETRY_FRAMES = 5
"""Frames before an object without a mask is refined again. Chosen by hand."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of propagation, beside the number of objects that each frame propagates.

    Attributes:
        max_age_ns: Age beyond which a mask is dropped.
        missed_frames: Frames to keep an object that the detector misses; three times as many until its second miss.
    """

    max_age_ns: int
    missed_frames: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Prefetched:
    """Observations of frame `seq` around predicted boxes, in crops of that side."""

    seq: int
    side: int
    observations: dict[Track, Observation | None]


class Propagator:
    """Propagates masks over the frames of one source."""

    def __init__(self, budget: Budget, refine: Refine | None = None) -> None:
        """Without `refine`, masks are only warped."""
        self._budget = budget
        self._refiner = refine
        self._finder = FlowFinder()
        self._tracks: list[Track] = []
        self._waiting: list[KeyframeMask] = []
        self._newest: tuple[FrameTime, Image] | None = None
        self._prefetched: _Prefetched | None = None
        self._answered_seq = -1

    def add(self, masks: Iterable[KeyframeMask]) -> None:
        """Add the masks of a keyframe, which may be older or still to come. They count from the next update on."""
        masks = list(masks)
        seqs = {made.frame.seq for made in masks}
        self._waiting = [*(made for made in self._waiting if made.frame.seq not in seqs), *masks]

    @property
    def objects(self) -> int:
        """How many objects it follows."""
        return len(self._tracks)

    def prefetch(self, frame: FrameTime, image: Image, most: int | None = None) -> None:
        """Crop objects and compute their flow where they are predicted in the next frame, before its boxes are known.

        `update` then returns the same, within rounding, but sooner. Call it after `refine`.
        """
        if self._newest is None or image.shape != self._newest[1].shape:
            return
        side = _crop_side(len(self._tracks))
        tracks = choose(self._tracks, frame.seq, most, image.shape[1], image.shape[0])
        boxes = [self._predicted_box(track, frame.seq) for track in tracks]
        found = observe(tracks, frame.seq, image, boxes, side, self._finder)
        self._prefetched = _Prefetched(frame.seq, side, dict(zip(tracks, found, strict=True)))

    def update(
        self,
        frame: FrameTime,
        image: Image,
        detections: Sequence[Detection] | None,
        *,
        found_on: int | None = None,
        most: int | None = None,
    ) -> tuple[TrackedObject, ...]:
        """Advance to a newer frame.

        Args:
            frame: The frame.
            image: Its pixels, shape (height, width, 3), uint8, BGR.
            detections: Its objects; None if the detector has no result newer than the frame before.
            found_on: Number of the older frame of the detections, if they are not of this one. Their positions are then
                predicted, and corrected by flow.
            most: How many objects are propagated at most; the masks of the others are moved with their boxes. None
                propagates all.

        Returns:
            One object for each detection, in their order, and behind them the missed objects that still have a mask.
        """
        if self._newest is not None and image.shape != self._newest[1].shape:
            self._waiting = [made for made in self._waiting if made.frame.seq >= frame.seq]
            self._tracks = []
        newest = frame if self._newest is None else self._newest[0]
        answered = detections is not None
        if detections is None:
            detections, found_on = [track.detection for track in self._tracks if track.missed == 0], newest.seq
        found_on = frame.seq if found_on is None else found_on
        found, lost = self._associate(detections, found_on)
        for track, detection in zip(found, detections, strict=True):
            track.mark_detected(detection.tracker_id)
        for track in lost:
            track.mark_missed(answered=answered)
        positions: list[Position] = (
            [Measured(detection) for detection in detections]
            if found_on >= frame.seq
            else [track.predict(frame.seq, each, found_on) for track, each in zip(found, detections, strict=True)]
        )
        missed = self._missed_positions(lost, newest.seq, frame.seq, positions)
        self._keep_masks([track for track in lost if track not in missed])
        self._tracks, positions = [*found, *missed], [*positions, *missed.values()]
        early = self._take_prefetched(frame.seq)
        chosen = choose(self._tracks, frame.seq, most, image.shape[1], image.shape[0], early)
        at = dict(zip(self._tracks, positions, strict=True))
        observations = self._observe(frame.seq, image, chosen, [at[track].detection.xyxy for track in chosen], early)
        for track, observation in zip(chosen, observations, strict=True):
            track.update(frame.seq, at.pop(track), observation)
        for track, position in at.items():
            track.move(frame.seq, position)
        self._newest = frame, image
        self._hand_out(frame)
        advance_pending(chosen, frame)
        for track in self._tracks:
            track.forget(max(self._answered_seq, frame.seq - _LONGEST_DELAY))
            track.expire(frame.pts_ns - self._budget.max_age_ns)
        located = dict(zip(chosen, self._locate(chosen, frame, image), strict=True))
        rest = [track for track in self._tracks if track not in located]
        located |= zip(rest, _moved(rest, frame, image.shape[1], image.shape[0]), strict=True)
        objects = [located[track] for track in self._tracks]
        return (*objects[: len(found)], *(each for each in objects[len(found) :] if each.mask is not None))

    def refine(self, *, hurried: bool = False) -> None:
        """Run the refiner on the newest frame, for the masks of the frames to come.

        It runs on a few objects: those without a mask first, then those that have drifted most. An object that it could
        not help waits a few frames. Call it after the frame has been published.

        Args:
            hurried: Leave out objects that have a mask.
        """
        if self._refiner is None or self._newest is None:
            return
        frame, image = self._newest
        candidates = [
            track
            for track in self._tracks
            if track.propagated_seq == frame.seq and track.missed == 0 and track.refinable
        ]
        if hurried:
            candidates = [track for track in candidates if track.mask is None or not track.expected_iou]
        candidates = [each for each in candidates if each.expected_iou or each.frames_since_refinement >= _RETRY_FRAMES]
        candidates.sort(key=lambda track: track.expected_iou - _UNREFINED_PENALTY * track.frames_since_refinement)
        chosen = candidates[:_REFINED_PER_FRAME]
        if chosen:
            refined = self._refiner(image, [track.detection.xyxy for track in chosen])
            for track, logits in zip(chosen, refined, strict=True):
                track.refine(frame, logits)

    def _locate(self, tracks: Sequence[Track], frame: FrameTime, image: Image) -> list[TrackedObject]:
        """One object for each track, with its mask if one can be trusted."""
        located = locate_tracks(tracks, image.shape[1], image.shape[0])
        for track, found in zip(tracks, located, strict=True):
            track.correct(found.warped, found.expected_iou, found.mask)
        return [_object(track, frame, found.mask) for track, found in zip(tracks, located, strict=True)]

    def _take_prefetched(self, seq: int) -> dict[Track, Observation | None]:
        """What was prefetched for frame `seq`."""
        early, self._prefetched = self._prefetched, None
        side = _crop_side(len(self._tracks))
        return {} if early is None or (early.seq, early.side) != (seq, side) else early.observations

    def _observe(
        self,
        seq: int,
        image: Image,
        tracks: Sequence[Track],
        boxes: Sequence[Box],
        known: Mapping[Track, Observation | None],
    ) -> list[Observation | None]:
        """Observe each track around its predicted box if its box is close to that, else around its box."""
        height, width = image.shape[:2]
        observations: list[Observation | None] = [None] * len(boxes)
        places, around = [], []
        for place, (track, box) in enumerate(zip(tracks, boxes, strict=True)):
            prefetched = known.get(track)
            predicted = self._predicted_box(track, seq) if prefetched is None else prefetched.crop.box
            close = similar_windows(predicted, box, width, height)
            if close and prefetched is not None:
                observations[place] = prefetched
            else:
                places.append(place)
                around.append(predicted if close else box)
        side = _crop_side(len(self._tracks))
        observed = observe([tracks[place] for place in places], seq, image, around, side, self._finder)
        for place, observation in zip(places, observed, strict=True):
            observations[place] = observation
        return [None if each is None else each.with_box(box) for each, box in zip(observations, boxes, strict=True)]

    def _predicted_box(self, track: Track, seq: int) -> Box:
        """The box in frame `seq`, the next one, at the newest speed."""
        found_on = seq if self._newest is None else self._newest[0].seq
        return track.predict(seq, track.detection, found_on).detection.xyxy

    def _associate(self, detections: Sequence[Detection], found_on: int) -> tuple[list[Track], list[Track]]:
        """The track of each detection of frame `found_on`, known or new; and the tracks without a detection."""
        by_number = {each.detection.tracker_id: each for each in self._tracks if each.detection.tracker_id is not None}
        numbered = [
            None if detection.tracker_id is None else by_number.get(detection.tracker_id) for detection in detections
        ]
        owned = set(numbered)
        free = dict.fromkeys(track for track in self._tracks if track not in owned)
        loose = [detection for detection, track in zip(detections, numbered, strict=True) if track is None]
        nearest = iter(_nearest(list(free), loose, found_on))
        found = []
        for detection, track in zip(detections, numbered, strict=True):
            if track is None:
                track = next((near for near in next(nearest) if near in free), None) or Track(detection)
                free.pop(track, None)
            found.append(track)
        return found, list(free)

    def _missed_positions(
        self, lost: Sequence[Track], newest: int, seq: int, found: Sequence[Position]
    ) -> dict[Track, Position]:
        """The positions of the missed tracks that are kept: those where no other object was found."""
        missed: dict[Track, Position] = {}
        positions = [track.predict(seq, track.detection, newest) for track in lost]
        boxes = [[position.detection.xyxy for position in each] for each in (positions, found)]
        taken = {place for place, _ in similar_pairs(boxes[0], boxes[1], _SAME_OBJECT_IOU)}
        for place, (track, position) in enumerate(zip(lost, positions, strict=True)):
            # Without a keyframe mask it must have been seen in two frames: one false detection makes no object.
            known = isinstance(position, Predicted) if track.mask else track.path.motion_to(seq) is not None
            frames = self._budget.missed_frames * (_PATIENCE if track.missed_answers < 2 else 1)
            if known and track.missed <= frames and place not in taken:
                missed[track] = position
        return missed

    def _keep_masks(self, dropped: Iterable[Track]) -> None:
        """Keep the masks of dropped tracks: the objects may come back under their numbers."""
        masks = [made for track in dropped if (made := track.newest_keyframe_mask) is not None]
        self._waiting += [made for made in masks if made.template is not None and made.detection.tracker_id is not None]

    def _hand_out(self, frame: FrameTime) -> None:
        """Give waiting keyframe masks to their tracks. Those without a track wait for their number until too old."""
        waiting = []
        newest: dict[Track, KeyframeMask] = {}
        due = sorted((made for made in self._waiting if made.frame.seq <= frame.seq), key=lambda made: made.frame.seq)
        for made, track in zip(due, self._owners(due), strict=True):
            self._answered_seq = max(self._answered_seq, made.frame.seq)
            if track is not None:
                known = newest.get(track, track.newest_keyframe_mask)
                if known is None or made.frame.seq > known.frame.seq:
                    newest[track] = made
            elif made.detection.tracker_id is not None and frame.pts_ns - made.frame.pts_ns <= self._budget.max_age_ns:
                waiting.append(made)
        self._waiting = [*waiting[-_MOST_WAITING:], *(made for made in self._waiting if made.frame.seq > frame.seq)]
        for track, made in newest.items():
            track.add_keyframe_mask(made)

    def _owners(self, masks: Sequence[KeyframeMask]) -> Iterator[Track | None]:
        """The track of each keyframe mask by its number or box on the keyframe: both may have changed since."""
        for seq, of_frame in itertools.groupby(masks, key=lambda made: made.frame.seq):
            detections = [made.detection for made in of_frame]
            loose = [detection for detection in detections if detection.tracker_id is None]
            nearest = iter(_nearest(self._tracks, loose, seq))
            for detection in detections:
                if detection.tracker_id is None:
                    yield next(iter(next(nearest)), None)
                else:
                    yield next((track for track in self._tracks if track.had(detection.tracker_id, seq)), None)


def _object(track: Track, frame: FrameTime, mask: Mask | None) -> TrackedObject:
    """The object as published: with the segmenter's mask of this very frame, or with the propagated one."""
    made, detection, mask_frame = track.keyframe_mask, track.detection, track.mask_frame
    if made is not None and (made.frame.seq == frame.seq or made.mask is None):
        return made.as_object(detection)
    if mask is None or mask_frame is None:
        return TrackedObject(detection=detection)
    predicted_iou = None if made is None else made.predicted_iou
    return TrackedObject(
        detection=detection,
        mask=mask,
        method=PROPAGATED if track.refinement is None else REFINED,
        origin_seq=mask_frame.seq,
        age_ms=(frame.pts_ns - mask_frame.pts_ns) / 1e6,
        predicted_iou=track.expected_iou * (1.0 if predicted_iou is None else predicted_iou),
        stability=None if made is None else made.stability,
    )


def _moved(tracks: Sequence[Track], frame: FrameTime, width: int, height: int) -> list[TrackedObject]:
    """The objects of a frame that did not propagate them: with their last masks, moved as their boxes moved."""
    moves = {track: Move(track.shown.mask, track.shown.box, track.detection.xyxy) for track in tracks if track.shown}
    masks = dict(zip(moves, moved_masks(list(moves.values()), width, height), strict=True))
    return [_moved_object(track, frame, masks.get(track)) for track in tracks]


def _moved_object(track: Track, frame: FrameTime, mask: Mask | None) -> TrackedObject:
    """The object with its moved mask."""
    shown, detection, made = track.shown, track.detection, track.newest_keyframe_mask
    if made is not None and (made.frame.seq == frame.seq or made.mask is None):
        return made.as_object(detection)
    if shown is None or mask is None:
        return TrackedObject(detection=detection)
    return TrackedObject(
        detection=detection,
        mask=mask,
        method=MOVED,
        origin_seq=shown.frame.seq,
        age_ms=(frame.pts_ns - shown.frame.pts_ns) / 1e6,
        stability=shown.stability,
    )


def _nearest(tracks: Sequence[Track], detections: Sequence[Detection], seq: int) -> list[list[Track]]:
    """For each detection the tracks of its class that overlap it enough to be the same object, the nearest first."""
    near: list[list[tuple[float, Track]]] = [[] for _ in detections]
    known = [track.detection_on(seq).xyxy for track in tracks] if detections else []
    for row, column in similar_pairs(known, [detection.xyxy for detection in detections], _SAME_OBJECT_IOU):
        track, detection = tracks[row], detections[column]
        if track.detection.class_id == detection.class_id:
            near[column].append((box_iou(known[row], detection.xyxy), track))
    return [[track for _, track in sorted(each, key=lambda pair: -pair[0])] for each in near]


def _crop_side(objects: int) -> int:
    """The largest side of so many crops that the budget of pixels allows."""
    return next((side for side in _SIDES if objects * side**2 <= _PIXELS_PER_FRAME), _SIDES[-1])
