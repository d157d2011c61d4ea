"""One object that is followed from frame to frame: how it moved, and what is known of its mask."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import msgspec
import numpy as np

from streamseg.messages import Detection
from streamseg.propagate.carried import Carried
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask
from streamseg.propagate.known import Coming, Opinion
from streamseg.propagate.looks import Flow, Look, Motion, moved_into
from streamseg.propagate.planes import CELL_CENTRES, FLOW_SIDE, resized
from streamseg.window import Plane, Window, box_plane, window_around

_LONGEST_PATH = 150
"""Frames over which motion is remembered, for masks that come late."""
_HEARD_FRAMES = 10
"""Frames after which the small segmenter's opinion is forgotten."""
_FRESH_FRAMES = 3
"""For so long a mask is as good as the segmenter made it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is in a frame.

    Attributes:
        detection: The object there.
        ahead: How far it was taken to come since the frame before, where that is a guess; None where it was found there.
    """

    detection: Detection
    ahead: Motion | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """How the object came to frame `seq`.

    Attributes:
        seq: Which frame.
        before: Window of the look before; that of this one where there is none.
        window: Of the look at the object there.
        shown: The part of that in the frame.
        flow: Between the two; None where there is no look before.
        share: How much of each of its cells is about the object's, by its mask or else by the small segmenter; None where neither is known.
    """

    seq: int
    before: Window
    window: Window
    shown: Window
    flow: Flow | None
    share: Plane | None

    @cached_property
    def motion(self) -> Motion:
        """How far the object moved, by its own pixels, so that errors of its boxes do not count; else, how far its window did."""
        now, before = self.window, self.before
        if self.flow is None or self.share is None:
            return (now.left + now.right - before.left - before.right) / 2, (
                now.top + now.bottom - before.top - before.bottom
            ) / 2
        # Squared: a cell that shows some of the background moves with that as well, and counts less than its share.
        weights = np.square(self.share) + np.float32(1e-6)
        if self.shown != self.window:
            shown = self.shown
            weights *= box_plane((shown.left, shown.top, shown.right, shown.bottom), self.window, FLOW_SIDE)
        weights /= weights.sum()
        x, y = float(weights.sum(axis=0) @ CELL_CENTRES), float(weights.sum(axis=1) @ CELL_CENTRES)
        back_x, back_y = (weights.ravel() @ self.flow.reshape(-1, 2)).tolist()
        return (
            now.left - before.left + x * (now.width - before.width) - back_x * before.width,
            now.top - before.top + y * (now.height - before.height) - back_y * before.height,
        )


class Followed:
    """An object, from its first frame to its last."""

    def __init__(self, detection: Detection) -> None:
        self.detection = detection
        self.missed = 0
        """Frames for which the detector has not found it."""
        self.missed_answers = 0
        """Answers in a row in which the detector has not found it."""
        self.seen: Look | None = None
        self.learnt: KeyframeMask | None = None
        self.carried: Carried | None = None
        self.coming: Coming | None = None
        """A newer answer; the one before counts until it is here."""
        self.opinion: Opinion | None = None
        self.certainty = 0.0
        """IoU that is expected of its mask in the newest frame; 0 where none is shown."""
        self.path: deque[Step] = deque(maxlen=_LONGEST_PATH)
        self._found: deque[tuple[int, Detection]] = deque(maxlen=_LONGEST_PATH)

    @property
    def frames_unheard(self) -> int:
        """Frames since the small segmenter was asked; no more than after which that is forgotten."""
        return _HEARD_FRAMES if self.opinion is None else self.opinion.frames

    @property
    def frames_carried(self) -> int:
        """How many frames its mask has come."""
        return 0 if self.carried is None else self.carried.frames

    @property
    def origin_moment(self) -> FrameTime | None:
        """The frame on which its mask was made; None where it has none."""
        if self.learnt is not None:
            return self.learnt.frame
        return None if self.opinion is None else self.opinion.moment

    @property
    def wants_opinion(self) -> bool:
        """Whether the small segmenter could help: the segmenter has not answered yet, or a good while ago."""
        if self.seen is None:
            return False
        return self.learnt is None if self.carried is None else self.carried.frames >= _FRESH_FRAMES

    @property
    def opinion_alone(self) -> Plane | None:
        """What the small segmenter says of the newest look, as long as the segmenter has not answered: shape (side, side)."""
        if self.seen is None or self.learnt is not None or self.opinion is None:
            return None
        odds: Plane = resized([self.opinion.odds], self.seen.side)[0]
        return odds

    @property
    def newest_learnt(self) -> KeyframeMask | None:
        """The newest answer, be it still on its way."""
        return self.learnt if self.coming is None else self.coming.learnt

    @property
    def still_to_come(self) -> dict[int, int]:
        """The steps that the newer answer has still to come: for the number of each step's frame its place in the path."""
        if self.coming is None:
            return {}
        return {
            step.seq: place
            for place, step in enumerate(self.path)
            if step.flow is not None and step.seq > self.coming.seq
        }

    def detection_on(self, seq: int) -> Detection:
        """What it was in frame `seq`, or in the last one before that; where that is not known, what it is now."""
        return next((detection for found_on, detection in reversed(self._found) if found_on <= seq), self.detection)

    def learn(self, learnt: KeyframeMask) -> None:
        """Take an answer of the segmenter, for the newest frame or an older one; see `comes_closer`."""
        if learnt.template is None:
            self.learnt, self.carried, self.coming = learnt, None, None
            return
        seen = next((step.window for step in self.path if step.seq == learnt.frame.seq), None)
        placed = None if self.seen is None else window_around(learnt.detection.xyxy, *self.seen.frame)
        self.coming = Coming(learnt, Carried.starting(learnt.template, seen, placed), learnt.frame.seq)

    def comes_closer(self, coming: Coming, place: int, carried: Carried) -> None:
        """Note that the newer answer has come to that place of the path, and what is carried there."""
        step = self.path[place] = replace(self.path[place], share=carried.share)
        self.coming = replace(coming, carried=carried, seq=step.seq)

    def arrives(self, coming: Coming, now: FrameTime) -> None:
        """Let the newer answer, which has come to the newest frame, take the place of the one before."""
        # Motion that nobody has seen counts as well: then only the box has been followed.
        self.carried = coming.carried.aged(now.seq - coming.learnt.frame.seq)
        self.learnt, self.coming = coming.learnt, None
        self._share(self.carried.share)

    def hear(self, moment: FrameTime, odds: Plane) -> None:
        """Take the small segmenter's odds for the square of its box in the newest frame; without a mask, they say what is the object's."""
        if self.seen is None:
            return
        self.opinion = Opinion.heard(
            moment, self.seen, moved_into(self.seen.window, self.seen.placed, odds, cv2.BORDER_REPLICATE)
        )
        if self.carried is None:
            self._share(self.opinion.share)

    def look_for(self) -> None:
        """Where the detector has missed an object that only the small segmenter knows: give that up unless it is recognised."""
        if self.carried is None and self.opinion is not None and not (self.seen and self.opinion.recognises(self.seen)):
            self.opinion = None
            self._share(None)

    def forget(self) -> None:
        """Give its mask up, as if the segmenter had never answered; what the small segmenter thinks goes on to count."""
        self.learnt = self.carried = None

    def ahead(self, seq: int) -> Motion | None:
        """How far it comes from the newest frame to frame `seq`, if it goes on as it came; None where flow has not seen how."""
        if len(self.path) < 2 or self.path[-1].flow is None or self.path[-1].share is None:
            return None
        newest, before = self.path[-1], self.path[-2]
        frames = (seq - newest.seq) / max(newest.seq - before.seq, 1)
        x, y = newest.motion
        return x * frames, y * frames

    def foreseen(self, detection: Detection, found_on: int, seq: int) -> Place:
        """Where a detection of an earlier frame must be in frame `seq`, the next one, if the object goes on as it came.

        It is left where it was found, as if it were found now, where the object's way since then is not known.
        """
        later = list(itertools.takewhile(lambda step: step.seq > found_on, reversed(self.path)))
        known = len(self.path) > len(later) and all(step.flow is not None for step in later)
        if self.seen is None or self.path[-1].share is None or not known:
            return Place(detection)
        ahead = self.ahead(seq) or (0.0, 0.0)
        ways = [(seq, ahead), *((step.seq, step.motion) for step in later)]
        # Of the first of them, which may have begun on a frame before the one on which it was found, only the rest.
        end, (across, down) = ways.pop()
        rest = (end - found_on) / max(end - self.path[-1 - len(later)].seq, 1)
        motion = across * rest + sum(x for _, (x, _) in ways), down * rest + sum(y for _, (_, y) in ways)
        return Place(_moved(detection, motion), ahead)

    def come(self, seq: int, place: Place, seen: Look, flow: Flow | None, carried: Carried | None) -> None:
        """Be in frame `seq`, at that place; where it was only foreseen, by flow's account of how far the object came.

        Args:
            seq: The frame's number.
            place: Where its box says that it is, or where it is taken to be.
            seen: The look at it.
            flow: Between the look before and this one; None where there is none before.
            carried: Its mask there.
        """
        if self.opinion is not None and flow is not None:
            self.opinion = self.opinion.moved(flow) if self.opinion.frames < _HEARD_FRAMES else None
        before, known = seen if self.seen is None else self.seen, self.opinion if carried is None else carried
        step = Step(seq, before.window, seen.window, seen.shown, flow, None if known is None else known.share)
        self.path.append(step)
        self.detection, self.seen, self.carried = place.detection, seen, carried
        if place.ahead is not None:
            (across, down), (ahead_across, ahead_down) = step.motion, place.ahead
            self.detection = _moved(place.detection, (across - ahead_across, down - ahead_down))
            self.seen = seen.settled(self.detection.xyxy)
        self._found.append((seq, self.detection))

    def _share(self, share: Plane | None) -> None:
        """Note how much of each cell of its newest step is the object's."""
        if self.path:
            self.path[-1] = replace(self.path[-1], share=share)

    def come_unseen(self, place: Place) -> None:
        """Be in the next frame, but outside of what it shows."""
        self.detection, self.seen, self.carried, self.opinion = place.detection, None, self.carried_unseen(), None

    def carried_unseen(self) -> Carried | None:
        """Its mask in the next frame, if nothing is seen of how it came there."""
        return None if self.carried is None else self.carried.aged(self.carried.frames + 1)


def _moved(detection: Detection, motion: Motion) -> Detection:
    (x, y), box = motion, detection.xyxy
    return msgspec.structs.replace(detection, xyxy=(box[0] + x, box[1] + y, box[2] + x, box[3] + y))
