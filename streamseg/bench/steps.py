"""What each step costs with many objects: the same code as in the stages, one step after the other on one thread."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import cv2
import msgspec

from streamseg.bench.crowd_scene import Crowd
from streamseg.bench.true_models import FPS
from streamseg.colours import Colours
from streamseg.duplicates import merge_boxes, merge_masks
from streamseg.ipc.descriptors import PackedKeyframeMask
from streamseg.messages import (
    Detection,
    Dropped,
    Image,
    Models,
    ObjectMask,
    ResultMessage,
    Timings,
    TrackedObject,
)
from streamseg.models.segmenters.nano.segmenter import Nano
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask, make_keyframe_masks
from streamseg.propagate.propagator import Budget, Propagator
from streamseg.render import render
from streamseg.stages.packing import pack_keyframe_mask
from streamseg.stages.tracking import Tracker
from streamseg.wire.protocol import encode_result, json_line

_FRAMES, _WARM_UP = 16, 4
"""Frames measured, and those before them."""
_MASK_AGE_NS = 10_000_000_000

_Given = ParamSpec("_Given")
_Value = TypeVar("_Value")


class StepCost(msgspec.Struct, frozen=True, kw_only=True):
    """A step's processor time for a frame in which it handles so many objects on average.

    Attributes:
        stage: The process that does it.
    """

    stage: str
    step: str
    objects: float
    frame_ms: float

    @property
    def object_us(self) -> float:
        """Microseconds per object."""
        return 1000 * self.frame_ms / max(self.objects, 1)


class _Watch:
    """Adds up the processor time and the objects of each step."""

    def __init__(self) -> None:
        self._spent: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)

    def run(
        self,
        name: tuple[str, str],
        objects: int,
        work: Callable[_Given, _Value],
        *given: _Given.args,
        **named: _Given.kwargs,
    ) -> _Value:
        """Do some work, and note it under the name of its stage and its own."""
        began = time.thread_time()
        value = work(*given, **named)
        self._spent[name].append((time.thread_time() - began, objects))
        return value

    def costs(self, skipped: int) -> list[StepCost]:
        """The means of each step's runs, without its first ones if there are more."""
        counted = {name: runs[skipped:] or runs for name, runs in self._spent.items()}
        return [
            StepCost(
                stage=stage,
                step=step,
                objects=sum(objects for _, objects in runs) / len(runs),
                frame_ms=1000 * sum(spent for spent, _ in runs) / len(runs),
            )
            for (stage, step), runs in counted.items()
        ]


def measure_steps(crowd: Crowd) -> list[StepCost]:
    """Time each step over some frames of a crowd."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return _measure(crowd)
    finally:
        cv2.setNumThreads(threads)


def _measure(crowd: Crowd) -> list[StepCost]:
    watch, tracker, colours, nano = _Watch(), Tracker(0.25), Colours(), Nano(threads=1)
    every, some = (Propagator(Budget(_MASK_AGE_NS, missed_frames=5)) for _ in range(2))
    width, height = crowd.options.width, crowd.options.height
    for number in range(_WARM_UP + _FRAMES):
        image, found = crowd.render(number), crowd.detections(number)
        frame = FrameTime(number, round(number * 1e9 / FPS))
        merged = watch.run(("detect", "merge boxes"), len(found), merge_boxes, found)
        tracked = watch.run(("detect", "track"), len(merged), tracker.update, image, merged, frame.pts_ns)
        if number == 0:
            masks = watch.run(("segment", "nano"), len(tracked), _segment, nano, image, tracked)
            made = watch.run(("segment", "prepare"), len(tracked), make_keyframe_masks, frame, image, tracked, masks)
            watch.run(("segment", "pack"), len(tracked), _pack, made)
            for propagator in (every, some):
                propagator.add(made)
        objects = watch.run(("publish", "propagate all"), len(tracked), every.update, frame, image, tracked)
        watch.run(("publish", "move all but one"), len(tracked), some.update, frame, image, tracked, most=1)
        objects = watch.run(("publish", "merge masks"), len(objects), merge_masks, objects)
        colours.give(objects, number)
        objects = watch.run(("publish", "colours"), len(objects), colours.apply, objects)
        result = _result(number, width, height, objects)
        watch.run(("publish", "encode"), len(objects), encode_result, result, "masks")
        watch.run(("publish", "draw"), len(objects), render, image, result)
        watch.run(("record", "JSON Lines"), len(objects), json_line, result)
    return watch.costs(_WARM_UP)


def _segment(nano: Nano, image: Image, detections: Sequence[Detection]) -> list[ObjectMask]:
    return nano.decode(nano.encode(image), detections)


def _pack(made: Sequence[KeyframeMask]) -> list[PackedKeyframeMask]:
    return list(map(pack_keyframe_mask, made))


def _result(number: int, width: int, height: int, objects: tuple[TrackedObject, ...]) -> ResultMessage:
    return ResultMessage(
        run_id="bench",
        epoch=0,
        seq=number,
        source="main",
        width=width,
        height=height,
        pts_ns=0,
        t_capture_unix_ns=0,
        timings=Timings(),
        dropped=Dropped(),
        models=Models(detector="crowd-boxes", segmenter="nano"),
        boxes_seq=number,
        objects=objects,
    )
