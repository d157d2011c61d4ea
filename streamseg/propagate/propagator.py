"""Follows all objects from frame to frame and says where their masks are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamseg.geometry import Box, box_iou
from streamseg.masks import Mask
from streamseg.messages import PROPAGATED, REFINED, Detection, Image, TrackedObject
from streamseg.propagate.carried import draw, expected_ious
from streamseg.propagate.followed import Followed, Place
from streamseg.propagate.following import Sight, catch_up, follow, odds_of_objects, see
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask, Refine
from streamseg.propagate.looks import FlowFinder, Look, alike
from streamseg.propagate.overlaps import Drawn, apart
from streamseg.propagate.planes import FLOW_SIDE, thinned
from streamseg.window import window_around

_SAME_OBJECT_IOU = 0.5
_PATIENCE = 3
"""How much longer an object is followed that the detector has missed only once."""
_SIDES = (5 * FLOW_SIDE, 3 * FLOW_SIDE, 2 * FLOW_SIDE)
"""Of the squares in which objects are followed."""
_PIXELS_A_FRAME = 3 * 120**2
"""Of all these squares together: what 5 to 7 ms on one core are enough for. More than six objects need more."""
_REFINED_A_FRAME = 1
"""Objects that the small segmenter is asked for: each takes it about 3 ms."""
_UNHEARD = 0.05
"""What a frame without its opinion weighs, in expected IoU, when it is chosen whom to ask for."""
_HELPLESS_FRAMES = 5
"""For so long it is not asked again about an object that has no mask in spite of its opinion."""
_SHARED_MISTAKES, _SHARED_FRAMES = 0.1, 15
"""By how much a carried mask is worse than its odds say, from so many frames on: neighbouring pixels are wrong together."""
_LEAST_EXPECTED_IOU = 0.5
_LEAST_FILLED = 0.3
"""How much of its box a mask may fill at least, as a share of what it filled at the origin."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent on a frame.

    Attributes:
        max_age_ns: Older masks are given up.
        missed_frames: For how many frames an object is followed that the detector does not find; where it answers more seldom, up to
            three times as many, until it has missed the object twice.
        refined: For how many objects the small segmenter is asked.
    """

    max_age_ns: int
    missed_frames: int = 0
    refined: int = _REFINED_A_FRAME


class Propagator:
    """Carries masks over the frames of one source."""

    def __init__(self, budget: Budget, refine: Refine | None = None) -> None:
        """Know nothing yet; without `refine` masks are only carried."""
        self._budget = budget
        self._refiner = refine
        self._finder = FlowFinder()
        self._followed: list[Followed] = []
        self._waiting: list[KeyframeMask] = []
        self._shape: tuple[int, ...] = ()
        self._newest: tuple[FrameTime, Image] | None = None
        self._foreseen: dict[
            tuple[int, int], dict[Followed, Sight | None]
        ] = {}  # of one frame: by its number and the squares' side

    def add(self, learnt: Sequence[KeyframeMask]) -> None:
        """Take in the segmenter's answers for a frame, be it older than the newest or about to come."""
        seqs = {each.frame.seq for each in learnt}
        self._waiting = [*(each for each in self._waiting if each.frame.seq not in seqs), *learnt]

    def prefetch(self, moment: FrameTime, image: Image) -> None:
        """Look at the frame that is to be followed to next before its boxes are known, so that `update` has less left to do.

        It does the same with it as without, within rounding. To be called after `refine`.
        """
        if self._newest is None or image.shape != self._shape:
            return
        side = _side(len(self._followed))
        sights = see(
            self._followed,
            moment.seq,
            image,
            [self._expected(each, moment) for each in self._followed],
            side,
            self._finder,
        )
        self._foreseen = {(moment.seq, side): dict(zip(self._followed, sights, strict=True))}

    def update(
        self, moment: FrameTime, image: Image, detections: Sequence[Detection] | None, *, found_on: int | None = None
    ) -> tuple[TrackedObject, ...]:
        """Go on to a newer frame.

        Args:
            moment: Which frame it is.
            image: Shape (height, width, 3), uint8, BGR.
            detections: Its objects; None where the detector has said nothing since the frame before.
            found_on: The number of the older frame that they were found on, where it was not this one; then they are foreseen, and
                settled by flow.

        Returns:
            One object for each detection, in their order; behind them those that the detector has missed and that are still seen.
        """
        if image.shape != self._shape:
            if self._shape:
                self._waiting = [learnt for learnt in self._waiting if learnt.frame.seq >= moment.seq]
            self._shape, self._followed = image.shape, []
        newest = moment if self._newest is None else self._newest[0]
        answered = detections is not None
        if detections is None:
            detections, found_on = (
                [followed.detection for followed in self._followed if followed.missed == 0],
                newest.seq,
            )
        found, lost = self._associate(detections, moment.seq if found_on is None else found_on)
        for followed in found:
            followed.missed = followed.missed_answers = 0
        for followed in lost:
            followed.missed += 1
            followed.missed_answers += answered
        if found_on is None or found_on >= moment.seq:
            places = [Place(detection) for detection in detections]
        else:
            places = [
                followed.foreseen(detection, found_on, moment.seq)
                for followed, detection in zip(found, detections, strict=True)
            ]
        missed = self._missed(lost, newest, moment, places)
        self._let_go([followed for followed in lost if followed not in missed])
        self._followed = [*found, *missed]
        places = [*places, *missed.values()]
        follow(self._followed, moment, places, self._see(moment, image, [place.detection.xyxy for place in places]))
        self._newest = moment, image
        self._hand_out(moment)
        catch_up(self._followed, moment)
        objects = self._objects(moment)
        return (*objects[: len(found)], *(each for each in objects[len(found) :] if each.mask is not None))

    def refine(self, *, hurried: bool = False) -> None:
        """Ask the small segmenter about the newest frame, for those that follow.

        It is asked for as many as the budget says: first those without a mask, then those that have drifted most. Whom it could not help
        waits a few frames before it is asked again. That is apart from `update` so that the frame need not wait for it.

        Args:
            hurried: Leave out those whose mask is carried and was shown.
        """
        if self._refiner is None or self._newest is None:
            return
        moment, image = self._newest
        candidates = [each for each in self._followed if each.missed == 0 and each.wants_opinion]
        if hurried:
            candidates = [each for each in candidates if each.carried is None or not each.certainty]
        candidates = [each for each in candidates if each.certainty or each.frames_unheard >= _HELPLESS_FRAMES]
        chosen = sorted(candidates, key=lambda each: each.certainty - _UNHEARD * each.frames_unheard)[
            : self._budget.refined
        ]
        if not chosen:
            return
        answers = self._refiner(image, [each.detection.xyxy for each in chosen])
        for followed, odds in zip(chosen, answers, strict=True):
            followed.hear(moment, odds)

    def _see(self, moment: FrameTime, image: Image, boxes: Sequence[Box]) -> list[Sight | None]:
        """Each object in a newer frame: where it was expected if its box is nearly there, and else at its box."""
        height, width = image.shape[:2]
        side = _side(len(boxes))
        foreseen, self._foreseen = self._foreseen.get((moment.seq, side), {}), {}
        sights: dict[Followed, Sight | None] = {}
        to_see: dict[Followed, Box] = {}
        for each, box in zip(self._followed, boxes, strict=True):
            expected = self._expected(each, moment)
            nearly = alike(expected, box, width, height)
            if nearly and each in foreseen:
                sights[each] = foreseen[each]
            else:
                to_see[each] = expected if nearly else box
        seen = see(list(to_see), moment.seq, image, list(to_see.values()), side, self._finder)
        sights.update(zip(to_see, seen, strict=True))
        both = ((sights[each], box) for each, box in zip(self._followed, boxes, strict=True))
        return [None if sight is None else sight.settled(box) for sight, box in both]

    def _expected(self, followed: Followed, moment: FrameTime) -> Box:
        """The object's box in a newer frame, if it goes on as it came."""
        newest = moment if self._newest is None else self._newest[0]
        return followed.foreseen(followed.detection, newest.seq, moment.seq).detection.xyxy

    def _associate(self, detections: Sequence[Detection], found_on: int) -> tuple[list[Followed], list[Followed]]:
        """What is followed, or followed from now on, for each detection of a frame; and what no detection is of."""
        by_number = {
            each.detection.tracker_id: each for each in self._followed if each.detection.tracker_id is not None
        }
        taken = [
            by_number.get(detection.tracker_id) if detection.tracker_id is not None else None
            for detection in detections
        ]
        free = [each for each in self._followed if each not in taken]
        found = []
        for detection, followed in zip(detections, taken, strict=True):
            if followed is None:
                followed = _nearest(free, detection, found_on)
                if followed is None:
                    followed = Followed(detection)
                else:
                    free.remove(followed)
            found.append(followed)
        return found, free

    def _missed(
        self, lost: Sequence[Followed], newest: FrameTime, now: FrameTime, found: Sequence[Place]
    ) -> dict[Followed, Place]:
        """Those that go on though the detector has missed them, as long as nothing else is where they must be now; and where that is."""
        missed = {}
        for followed in lost:
            there = followed.foreseen(followed.detection, newest.seq, now.seq)
            box = there.detection.xyxy
            # What only the small segmenter knows was found in two frames at least: a detector's single mistake makes no object.
            if (
                (there.ahead if followed.carried is not None else followed.ahead(now.seq)) is not None
                and followed.missed <= self._budget.missed_frames * (_PATIENCE if followed.missed_answers < 2 else 1)
                and not any(box_iou(box, other.detection.xyxy) > _SAME_OBJECT_IOU for other in found)
            ):
                missed[followed] = there
        return missed

    def _let_go(self, lost: Sequence[Followed]) -> None:
        """Keep what the segmenter said of them: they may come back under their numbers."""
        answers = [learnt for each in lost if (learnt := each.newest_learnt) is not None]
        self._waiting += [
            learnt for learnt in answers if learnt.template is not None and learnt.detection.tracker_id is not None
        ]

    def _hand_out(self, moment: FrameTime) -> None:
        """Give the answers of the segmenter to those they are about; what finds nobody waits until it is too old."""
        waiting = []
        answers: dict[Followed, KeyframeMask] = {}
        for learnt in sorted(self._waiting, key=lambda learnt: learnt.frame.seq):
            followed = self._owner(learnt) if learnt.frame.seq <= moment.seq else None
            if followed is not None:
                known = answers.get(followed, followed.newest_learnt)
                if known is None or learnt.frame.seq > known.frame.seq:
                    answers[followed] = learnt
            elif moment.pts_ns - learnt.frame.pts_ns <= self._budget.max_age_ns:
                waiting.append(learnt)
        self._waiting = waiting
        for followed, learnt in answers.items():
            followed.learn(learnt)

    def _owner(self, learnt: KeyframeMask) -> Followed | None:
        """Whom an answer is about: objects may have moved since, and have been given other numbers."""
        detection, seq = learnt.detection, learnt.frame.seq
        if detection.tracker_id is not None:
            return next(
                (each for each in self._followed if each.detection_on(seq).tracker_id == detection.tracker_id), None
            )
        return _nearest(self._followed, detection, seq)

    def _objects(self, moment: FrameTime) -> list[TrackedObject]:
        """Everything that is followed, with its mask where there is one."""
        for followed in self._followed:
            origin = followed.origin_moment
            if origin is not None and moment.pts_ns - origin.pts_ns > self._budget.max_age_ns:
                followed.forget()
        drawn = self._drawn()
        masks = dict(zip(drawn, apart(list(drawn.values())), strict=True))
        return [_object(followed, moment, masks.get(place)) for place, followed in enumerate(self._followed)]

    def _drawn(self) -> dict[int, Drawn]:
        """The masks that are carried to the newest frame and can be trusted, by the places of their objects."""
        for followed in self._followed:
            followed.certainty = 0.0
        known = [
            (place, followed, odds, followed.seen)
            for place, (followed, odds) in enumerate(zip(self._followed, odds_of_objects(self._followed), strict=True))
            if odds is not None and followed.seen is not None
        ]
        if not known:
            return {}
        small = np.stack([thinned(odds) for _, _, odds, _ in known])
        height, width = self._shape[:2]
        drawn = {}
        for (place, followed, odds, seen), expected, filled in zip(
            known, expected_ious(small), (small > 0).mean(axis=(1, 2)), strict=True
        ):
            certainty = float(expected) * (1 - _SHARED_MISTAKES * min(1.0, followed.frames_carried / _SHARED_FRAMES))
            if certainty >= _LEAST_EXPECTED_IOU and _fits(float(filled), seen, followed):
                followed.certainty = certainty
                drawn[place] = Drawn(draw(odds, seen, width, height), odds, seen.window)
        return drawn


def _object(followed: Followed, moment: FrameTime, mask: Mask | None) -> TrackedObject:
    """What is published of an object: the segmenter's own answer for this very frame, or the mask that was carried."""
    learnt, detection, origin = followed.learnt, followed.detection, followed.origin_moment
    if learnt is not None and (learnt.frame.seq == moment.seq or learnt.mask is None):
        return learnt.as_object(detection)
    if mask is None or origin is None:
        return TrackedObject(detection=detection)
    at_origin = None if learnt is None else learnt.predicted_iou
    return TrackedObject(
        detection=detection,
        mask=mask,
        method=PROPAGATED if followed.opinion is None else REFINED,
        origin_seq=origin.seq,
        age_ms=(moment.pts_ns - origin.pts_ns) / 1e6,
        predicted_iou=followed.certainty * (1.0 if at_origin is None else at_origin),
        stability=None if learnt is None else learnt.stability,
    )


def _nearest(candidates: Sequence[Followed], detection: Detection, seq: int) -> Followed | None:
    """The one of the detection's class whose box in its frame it overlaps most, and enough to be the same object."""
    overlaps = [
        (box_iou(each.detection_on(seq).xyxy, detection.xyxy), each)
        for each in candidates
        if each.detection.class_id == detection.class_id
    ]
    overlap, nearest = max(overlaps, key=lambda both: both[0], default=(0.0, None))
    return nearest if overlap >= _SAME_OBJECT_IOU else None


def _side(objects: int) -> int:
    """Of the squares in which so many objects are followed: the largest that the budget allows."""
    return next((side for side in _SIDES if objects * side**2 <= _PIXELS_A_FRAME), _SIDES[-1])


def _fits(filled: float, seen: Look, followed: Followed) -> bool:
    """Whether the mask, which fills so much of its square, fills enough of its box: box and mask go on to agree."""
    if followed.carried is None or followed.learnt is None:
        return True
    box = followed.learnt.detection.xyxy
    origin = window_around(box, *seen.frame)
    if origin is None:
        return True
    filled_then = followed.carried.filled / max(origin.share_of(box, *seen.frame), 1e-6)
    return filled >= _LEAST_FILLED * filled_then * seen.window.share_of(seen.box, *seen.frame)
