"""One object that is followed from frame to frame: how it moved, and what is known of its mask."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import cv2
import msgspec
import numpy as np

from streamseg.messages import NONE, SEGMENTED, Box, Detection, Image, ObjectMask, TrackedObject
from streamseg.propagate.carried import Carried, of_object
from streamseg.propagate.looks import Flow, FlowFinder, Look, look
from streamseg.propagate.origin import Origin
from streamseg.propagate.planes import resized, sample
from streamseg.window import Plane, Window

_LONGEST_PATH = 90
"""Frames over which motion is remembered, for masks that come late."""
_HEARD_FRAMES = 10
"""Frames after which the small segmenter's opinion is forgotten."""
_FRESH_FRAMES = 3
"""For so long a mask is as good as the segmenter made it."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Which frame: its number, and its time in nanoseconds since the source's first."""

    seq: int
    pts_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """The segmenter's answer for one object of a frame.

    Attributes:
        moment: Which frame.
        detection: The object on it.
        answer: Its mask there.
        origin: What is remembered of it there; None where there is no mask, or none that is to be carried.
    """

    moment: Moment
    detection: Detection
    answer: ObjectMask
    origin: Origin | None

    def as_object(self, detection: Detection) -> TrackedObject:
        """The object as it is published with that frame."""
        answer = self.answer
        return TrackedObject(
            detection=detection,
            mask=answer.mask,
            method=NONE if answer.mask is None else SEGMENTED,
            origin_seq=None if answer.mask is None else self.moment.seq,
            predicted_iou=answer.predicted_iou,
            stability=answer.stability,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Opinion:
    """What the small segmenter thinks of an object.

    Attributes:
        moment: On which frame.
        odds: For each pixel of the object's newest square, the logarithm of the odds that it is the object's: shape (side, side).
        frames: How many frames ago that was.
    """

    moment: Moment
    odds: Plane
    frames: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """How the object came to frame `seq`.

    Attributes:
        seq: Which frame.
        flow: Between the square before and the one there.
        share: How much of each of its cells is about the object's; None as long as no mask was learnt.
        window: Of the square there.
    """

    seq: int
    flow: Flow
    share: Plane | None
    window: Window

    def motion(self) -> tuple[float, float]:
        """How far the object moved in its square, in pixels."""
        return (0.0, 0.0) if self.share is None else _motion(self.flow, self.share, self.window)


class Followed:
    """An object, from its first frame to its last."""

    def __init__(self, detection: Detection) -> None:
        self.detection = detection
        self.missed = 0
        """Frames for which the detector has not found it."""
        self.seen: Look | None = None
        self.learnt: Learnt | None = None
        self.carried: Carried | None = None
        self.opinion: Opinion | None = None
        self.certainty = 0.0
        """IoU that was expected of its mask in the frame before; 0 without one."""
        self._path: deque[_Step] = deque(maxlen=_LONGEST_PATH)

    @property
    def frames_unheard(self) -> int:
        """Frames since the small segmenter was asked; no more than after which that is forgotten."""
        return _HEARD_FRAMES if self.opinion is None else self.opinion.frames

    @property
    def frames_carried(self) -> int:
        """How many frames its mask has come."""
        return 0 if self.carried is None else self.carried.frames

    @property
    def origin_moment(self) -> Moment | None:
        """The frame on which its mask was made; None where it has none."""
        if self.learnt is not None:
            return self.learnt.moment
        return None if self.opinion is None else self.opinion.moment

    @property
    def wants_opinion(self) -> bool:
        """Whether the small segmenter could help: the segmenter has not answered yet, or a good while ago."""
        if self.seen is None:
            return False
        return self.learnt is None if self.carried is None else self.carried.frames >= _FRESH_FRAMES

    def learn(self, learnt: Learnt, now: Moment) -> None:
        """Take a newer answer of the segmenter, and carry its mask to where the object is now."""
        if self.learnt is not None and learnt.moment.seq <= self.learnt.moment.seq:
            return
        self.learnt, self.carried = learnt, None
        if learnt.origin is not None:
            carried = Carried.starting(learnt.origin)
            for place, step in enumerate(self._path):
                if step.seq > learnt.moment.seq:
                    share = carried.share_after(step.flow)
                    carried = carried.along(step.flow, share)
                    self._path[place] = replace(step, share=share)
            # Motion that nobody has seen counts as well: then only the box has been followed.
            self.carried = carried.aged(now.seq - learnt.moment.seq)

    def forget(self) -> None:
        """Give its mask up, as if the segmenter had never answered; what the small segmenter thinks goes on to count."""
        self.learnt = self.carried = None

    def follow(self, moment: Moment, detection: Detection, seen: Look | None, finder: FlowFinder) -> None:
        """Go on to a newer frame, where the detector found the object."""
        before, self.seen, self.detection = self.seen, seen, detection
        if before is None or seen is None:
            if self.carried is not None:
                self.carried = self.carried.aged(self.carried.frames + 1)
            return
        flow, share = finder.between(before, seen), None
        if self.carried is not None:
            share = self.carried.share_after(flow)
            flow = of_object(flow, share)
            self.carried = self.carried.along(flow, share)
        self._path.append(_Step(moment.seq, flow, share, seen.window))
        if self.opinion is not None:
            moved = sample(self.opinion.odds, resized(flow, self.opinion.odds.shape[0]), cv2.BORDER_REPLICATE)
            frames = self.opinion.frames + 1
            self.opinion = Opinion(self.opinion.moment, moved, frames) if frames <= _HEARD_FRAMES else None

    def motion_since(self, seq: int, image: Image, finder: FlowFinder) -> tuple[float, float] | None:
        """How far it has come from an earlier frame to a newer one than the newest, in pixels; None where that is not known.

        Its boxes' errors do not count: what its squares moved and what it moved in them are summed up.
        """
        steps = [step for step in self._path if step.seq >= seq]
        if not steps or steps[0].seq != seq:
            return None
        now = self._motion_in(image, finder)
        if now is None:
            return None
        inside = [now, *(step.motion() for step in steps[1:])]
        (x, y), (from_x, from_y) = _centre(steps[-1].window), _centre(steps[0].window)
        return x - from_x + sum(across for across, _ in inside), y - from_y + sum(down for _, down in inside)

    def box_in(self, image: Image, finder: FlowFinder) -> Box | None:
        """Where its box must be in a newer frame by the flow of its mask alone; None where nothing is known of it."""
        motion, box = self._motion_in(image, finder), self.detection.xyxy
        return None if motion is None else (box[0] + motion[0], box[1] + motion[1], box[2] + motion[0], box[3] + motion[1])

    def _motion_in(self, image: Image, finder: FlowFinder) -> tuple[float, float] | None:
        """How far it has come from the newest frame to a newer one."""
        seen = None if self.seen is None or self.carried is None else look(image, self.detection.xyxy, self.seen.side)
        if self.seen is None or self.carried is None or seen is None:
            return None
        flow = finder.between(self.seen, seen)
        return _motion(flow, self.carried.share_after(flow), seen.window)

    def detection_at(self, box: Box) -> Detection:
        """The same object elsewhere."""
        return msgspec.structs.replace(self.detection, xyxy=box)

    def odds(self) -> Plane | None:
        """For each pixel of the newest look, the logarithm of the odds that it is the object's; None where nothing is known."""
        if self.seen is None or (self.learnt is not None and self.carried is None):
            return None
        if self.carried is None:
            return None if self.opinion is None else self.opinion.odds
        evidence = self.carried.origin.appearance.evidence(self.seen.picture)
        self.carried = self.carried.checked(evidence)
        return self.carried.odds(self.seen, evidence, None if self.opinion is None else self.opinion.odds)


def _motion(flow: Flow, share: Plane, window: Window) -> tuple[float, float]:
    """How far the object moved in a square, in pixels of the frame."""
    x, y = -np.average(flow.reshape(-1, 2), axis=0, weights=share.ravel() + 1e-6)
    return float(x) * window.width, float(y) * window.height


def _centre(window: Window) -> tuple[float, float]:
    return (window.left + window.right) / 2, (window.top + window.bottom) / 2
