"""Segment: makes the masks of the objects of each keyframe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from streamseg.errors import FrameGoneError
from streamseg.ipc.descriptors import FrameDescriptor, Keyframe, Masks
from streamseg.ipc.links import Receiver, Sender
from streamseg.ipc.recent import Recent
from streamseg.ipc.stage_messages import LaneSpec, Progress, Ready, Resend, ToStage
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models import Segmenter
from streamseg.models.options import Compute, SegmenterSettings
from streamseg.models.registry import create_refiner, create_segmenter
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask, make_keyframe_masks
from streamseg.stages.base import SharedStage, StageContext
from streamseg.stages.fair_turns import FairTurns
from streamseg.stages.idle_executor import IdleExecutor
from streamseg.stages.packing import pack_keyframe_mask
from streamseg.stages.priority import Priority, decoding_time_ns

if TYPE_CHECKING:
    from streamseg.models.segmenters.nano.refiner import Refiner

_BATCH = 8
"""Boxes decoded between two reports of progress."""
_NEW_SHAPE_NS = 10_000_000_000
"""Time allowed for each network exported for the first picture of a shape, until the picture is encoded.

The supervisor allows a multiple of it.
"""

_Value = TypeVar("_Value")

_log = logging.getLogger(__name__)


CreateSegmenter = Callable[[SegmenterSettings, Compute, Callable[[int, int], None]], Segmenter[Any]]


class _SegmentLane:
    """Segment's part of one source: its links, the masks sent last, and which objects come first in live mode."""

    def __init__(self, context: StageContext, lane: LaneSpec) -> None:
        config = context.spec.config.of(lane.name)
        self.propagates_masks = config.propagates_masks
        self._keyframes: Receiver[Keyframe] = context.receiver("detect", lane.name, Keyframe)
        self._waiting: Keyframe | None = None
        self.to_publish: Sender[Masks] = context.sender("publish", lane.name)
        self.name = lane.name
        self.recent: Recent[Masks] = Recent()
        self.priority = Priority(config.propagate.max_age_ms) if context.spec.live else None
        self.overrun = lane.dropped.segment_overrun
        self.replaced = 0

    @property
    def links(self) -> list[Sender[Any] | Receiver[Any]]:
        """All of its links."""
        return [self._keyframes, self.to_publish]

    def service(self) -> None:
        """Send what waits for credit, and receive a keyframe; in live mode, the newest one waits for its turn."""
        self.to_publish.service()
        while self._accepts and (keyframe := self._keyframes.receive()) is not None:
            self.replaced += self._waiting is not None
            self._waiting = keyframe

    @property
    def need(self) -> float:
        """How much the masks of the keyframe that waits are needed; 0 if none waits."""
        if self._waiting is None:
            return 0.0
        return 1.0 if self.priority is None else self.priority.need(self._waiting)

    def take(self) -> Keyframe:
        """The keyframe that waits."""
        keyframe, self._waiting = self._waiting, None
        assert keyframe is not None
        return keyframe

    def grant(self) -> None:
        """Allow detect a keyframe."""
        if self._accepts:
            self._keyframes.grant()

    @property
    def _accepts(self) -> bool:
        return self._waiting is None or self.priority is not None


class SegmentStage(SharedStage):
    """Encodes a keyframe once and decodes the masks of its boxes.

    In every-frame mode it decodes all of them, in live mode those for which there is time.
    """

    def __init__(
        self,
        context: StageContext,
        create_segmenter: CreateSegmenter = create_segmenter,
    ) -> None:
        super().__init__(context)
        self._create_segmenter = create_segmenter
        self._lanes = {lane.name: _SegmentLane(context, lane) for lane in self.spec.lanes}
        self._turns = FairTurns(self._lanes)
        self._idle_executor = IdleExecutor(context.progress) if self.spec.live else None

    def prepare(self) -> Ready:
        """Load the segmenter and run it once, which shows the supervisor how long a turn may take."""
        self._segmenter: Segmenter[Any] = self._create_segmenter(
            self.config.segmenter, self.spec.compute, self._note_export
        )
        self._refiner: Refiner | None = None
        self._load_refiner()
        blank = np.zeros((360, 640, 3), np.uint8)
        centre = Detection(xyxy=(200.0, 100.0, 400.0, 300.0), confidence=1.0, class_id=0, class_name="warm-up")
        began = self.context.clock.now_ns()
        self._segmenter.decode(self._segmenter.encode(blank), [centre])
        self._warm_up_ns = self.context.clock.now_ns() - began
        self.context.report(Progress(self._warm_up_ns))
        self._shapes = {blank.shape}
        description = self._segmenter.describe()
        _log.info("running %s", description)
        return Ready(description)

    def add_lane(self, lane: LaneSpec) -> None:
        """Open the links of a source."""
        self._lanes[lane.name] = _SegmentLane(self.context, lane)
        self._turns.add(lane.name)
        self._load_refiner()

    def remove_lane(self, source: str) -> list[Sender[Any] | Receiver[Any]]:
        """Forget a source and its masks."""
        self._turns.remove(source)
        return self._lanes.pop(source).links

    def instruct(self, message: ToStage) -> None:
        """Repeat the masks sent last, for a publish process that is new."""
        super().instruct(message)
        if isinstance(message, Resend):
            lane = self._lanes[message.source]
            for masks in lane.recent.values():
                lane.to_publish.send(masks)

    def turn(self) -> bool:
        """Take one keyframe, of the source that has the turn."""
        for lane in self._lanes.values():
            lane.service()
        needs = {name: need for name, lane in self._lanes.items() if (need := lane.need)}
        chosen, worked = self._turns.choose(needs), False
        if chosen is not None:
            worked = self._take(self._lanes[chosen])
            if worked:
                self._turns.served(chosen, needs)
        for lane in self._lanes.values():
            lane.grant()  # last: the loop waits next, and without a grant no keyframe arrives
        if len(needs) > 1:
            self.context.wake()
        return worked

    def close(self, reason: str) -> None:
        """End the thread."""
        if self._idle_executor is not None:
            self._idle_executor.close()

    def _take(self, lane: _SegmentLane) -> bool:
        """Send the masks of the keyframe that waits, and return whether it was segmented for that.

        Turns that segment nothing do not count: their short times would make a slow segmenter look hung.
        """
        keyframe = lane.take()
        masks = lane.recent.get(keyframe.frame.seq)
        repeated = masks is not None and masks.detections == keyframe.detections
        if not repeated:
            try:
                masks = self._segment(lane, keyframe)
            except FrameGoneError:
                lane.overrun += self.spec.live  # in every-frame mode, capture repeats it
                return False
        if masks is None:
            return False
        lane.to_publish.send(masks)
        lane.recent.add(masks.seq, masks)
        return not repeated

    def _segment(self, lane: _SegmentLane, keyframe: Keyframe) -> Masks | None:
        """The masks of a keyframe; None if a live scene has not changed since the last one."""
        frame = keyframe.frame
        image = self.context.frames.read(frame.ring, frame.seq)
        chosen = range(len(keyframe.detections)) if lane.priority is None else lane.priority.order(keyframe, image)
        if not chosen:
            return None
        detections = tuple(keyframe.detections[place] for place in chosen)
        began = self.context.clock.now_ns()
        embedding = self._encode(image)
        t_encoded_ns = self.context.clock.now_ns()
        masks = self._decode(embedding, detections, t_encoded_ns + decoding_time_ns(t_encoded_ns - began))
        t_decoded_ns = self.context.clock.now_ns()
        detections = detections[: len(masks)]
        prepared = self._run_long(partial(self._keyframe_masks, lane, frame, image, detections, masks))
        if lane.priority is not None:
            lane.priority.update(keyframe, detections, masks)
        return Masks(
            source=lane.name,
            seq=frame.seq,
            pts_ns=frame.pts_ns,
            objects=tuple(map(pack_keyframe_mask, prepared)),
            t_capture_ns=frame.t_capture_ns,
            t_encoded_ns=t_encoded_ns,
            t_decoded_ns=t_decoded_ns,
            overrun=lane.overrun,
            replaced=lane.replaced,
        )

    def _encode(self, image: Image) -> object:
        """The embedding of a picture; the first one of a shape may take longer."""
        encode = partial(self._segmenter.encode, image)
        if image.shape in self._shapes:
            return self._run_long(encode)
        self._shapes.add(image.shape)
        self.context.report(Progress(_NEW_SHAPE_NS))
        embedding = self._run_long(encode)
        self.context.report(Progress(self._warm_up_ns))
        return embedding

    def _decode(self, embedding: object, detections: Sequence[Detection], until_ns: int) -> list[ObjectMask]:
        """The masks of the detections in their order; in live mode only as many as fit before `until_ns`."""
        masks: list[ObjectMask] = []
        for first in range(0, len(detections), _BATCH):
            if first and self.spec.live and self.context.clock.now_ns() > until_ns:
                break
            self.context.progress()
            masks += self._run_long(partial(self._segmenter.decode, embedding, detections[first : first + _BATCH]))
        return masks

    def _load_refiner(self) -> None:
        """Load the refiner if the masks of a source are propagated, unless it is loaded."""
        refine = self.config.propagate.refine and any(lane.propagates_masks for lane in self._lanes.values())
        if refine and self._refiner is None:
            self._refiner = create_refiner(self.spec.models.segmenter)

    def _run_long(self, work: Callable[[], _Value]) -> _Value:
        """Run long work; in live mode so that it delays no other stage."""
        return work() if self._idle_executor is None else self._idle_executor.run(work)

    def _keyframe_masks(
        self,
        lane: _SegmentLane,
        frame: FrameDescriptor,
        image: Image,
        detections: Sequence[Detection],
        masks: Sequence[ObjectMask],
    ) -> list[KeyframeMask]:
        """The masks, prepared for propagation if the source's are propagated: here, where nothing waits for it."""
        time = FrameTime(frame.seq, frame.pts_ns)
        if lane.propagates_masks:
            return make_keyframe_masks(time, image, detections, masks, self._refiner)
        return [
            KeyframeMask(time, detection, mask.mask, mask.predicted_iou, mask.stability)
            for detection, mask in zip(detections, masks, strict=True)
        ]

    def _note_export(self, done: int, total: int) -> None:
        """Report progress: on a busy machine, a network takes minutes."""
        if done == 0:
            _log.warning("exporting the networks for pictures of this shape, which takes some seconds and is kept")
        self.context.progress()
