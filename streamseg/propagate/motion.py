"""Where an object is in a frame, and how it moved there from frame to frame."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import msgspec
import numpy as np

from streamseg.messages import Detection
from streamseg.propagate.crop import CELL_CENTRES, FLOW_SIDE, Flow, Motion
from streamseg.window import Plane, Window, box_plane

_LONGEST_PATH = 150
"""Frames over which motion is kept, for late masks: five seconds."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The detector found the object in this frame."""

    detection: Detection


@dataclass(frozen=True, slots=True)
class Predicted:
    """The object was detected in an earlier frame and moved on by its own motion.

    Attributes:
        detection: Moved to this frame.
        motion: What is predicted for it since its newest step; flow corrects that.
        share: How much of that motion lies behind the frame of the detection: 0 to 1.
    """

    detection: Detection
    motion: Motion
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Unpredictable:
    """The object was detected in an earlier frame, and flow has not seen its motion since: it stays where it was."""

    detection: Detection


Position = Measured | Predicted | Unpredictable


@dataclass(frozen=True, eq=False)
class Step:
    """The step of an object to frame `seq`.

    Attributes:
        seq: The frame.
        before: Window of the crop before; that of this one if there is none.
        window: Window of the crop there.
        visible: The part of it inside the frame.
        flow: Between the two crops, shape (1, FLOW_SIDE, FLOW_SIDE, 2); None if there is no crop before.
        share: The object's share of each cell, by its mask or else by the refiner; None without both.
    """

    seq: int
    before: Window
    window: Window
    visible: Window
    flow: Flow | None
    share: Plane | None

    @cached_property
    def motion(self) -> Motion:
        """How far the object moved: the mean flow of its own pixels, or without flow or share, that of its window."""
        now, before = self.window, self.before
        if self.flow is None or self.share is None:
            return (now.left + now.right - before.left - before.right) / 2, (
                now.top + now.bottom - before.top - before.bottom
            ) / 2
        # Squared: a cell that shows background too moves with both, and counts less than its share.
        weights = np.square(self.share) + np.float32(1e-6)
        if self.visible != self.window:
            shown = self.visible
            weights *= box_plane((shown.left, shown.top, shown.right, shown.bottom), self.window, FLOW_SIDE)
        weights /= weights.sum()
        x, y = float(weights.sum(axis=0) @ CELL_CENTRES), float(weights.sum(axis=1) @ CELL_CENTRES)
        back_x, back_y = (weights.ravel() @ self.flow.reshape(-1, 2)).tolist()
        return (
            now.left - before.left + x * (now.width - before.width) - back_x * before.width,
            now.top - before.top + y * (now.height - before.height) - back_y * before.height,
        )


class Path:
    """The newest steps of an object."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque(maxlen=_LONGEST_PATH)

    def append(self, step: Step) -> None:
        """Add the newest step."""
        self._steps.append(step)

    def forget(self, seq: int) -> None:
        """Forget the steps that no mask of frame `seq` or a later one needs."""
        while len(self._steps) > 2 and self._steps[1].seq <= seq:
            self._steps.popleft()

    def share_newest(self, share: Plane | None) -> None:
        """Replace the object's share of the newest step's cells."""
        if self._steps:
            self._steps[-1] = replace(self._steps[-1], share=share)

    def share_on(self, seq: int, share: Plane) -> None:
        """Replace the object's share of the cells of frame `seq`."""
        place = next(place for place, step in enumerate(self._steps) if step.seq == seq)
        self._steps[place] = replace(self._steps[place], share=share)

    def window_on(self, seq: int) -> Window | None:
        """The window of the crop in frame `seq`; None if there is no such step."""
        return next((step.window for step in self._steps if step.seq == seq), None)

    def flows_after(self, seq: int) -> Iterator[tuple[int, Flow]]:
        """The frame and the flow of each step after frame `seq` that has one."""
        return ((step.seq, step.flow) for step in self._steps if step.flow is not None and step.seq > seq)

    def motion_to(self, seq: int) -> Motion | None:
        """The motion from the newest step to frame `seq` at the newest speed; None if flow has not seen that."""
        if len(self._steps) < 2 or self._steps[-1].flow is None or self._steps[-1].share is None:
            return None
        newest, before = self._steps[-1], self._steps[-2]
        frames = (seq - newest.seq) / max(newest.seq - before.seq, 1)
        x, y = newest.motion
        return x * frames, y * frames

    def predict(self, detection: Detection, found_on: int, seq: int) -> Predicted | Unpredictable:
        """Move a detection of frame `found_on` to frame `seq`, the next one."""
        steps = self._steps
        if not steps or steps[-1].share is None:
            return Unpredictable(detection)
        later = list(itertools.takewhile(lambda step: step.seq > found_on, reversed(steps)))
        if len(later) == len(steps) or any(step.flow is None for step in later):
            return Unpredictable(detection)
        next_motion = self.motion_to(seq) or (0.0, 0.0)
        motions = [(seq, next_motion), *((step.seq, step.motion) for step in later)]
        # The first of them may start before the frame of the detection: only the rest of it counts.
        end, (across, down) = motions.pop()
        rest = (end - found_on) / max(end - steps[-1 - len(later)].seq, 1)
        motion = across * rest + sum(x for _, (x, _) in motions), down * rest + sum(y for _, (_, y) in motions)
        return Predicted(moved(detection, motion), next_motion, 1.0 if later else rest)


def moved(detection: Detection, motion: Motion) -> Detection:
    """The detection with its box moved."""
    (x, y), box = motion, detection.xyxy
    return msgspec.structs.replace(detection, xyxy=(box[0] + x, box[1] + y, box[2] + x, box[3] + y))
