"""Publish: joins frames with boxes and masks, and sends one `Result` to subscribers and recordings."""

from __future__ import annotations

import dataclasses
import time

import msgspec

from streamseg.errors import FrameOverrunError
from streamseg.ipc.control import Announce, Done, Finished, Published, PublishedMask, Ready, ToStage
from streamseg.ipc.descriptors import Boxes, EndOfStream, FrameDescriptor, Masks
from streamseg.messages import Dropped, End, Heartbeat, Result, SourceState, Timings
from streamseg.render import render
from streamseg.sinks.recorder import Recorder
from streamseg.stages.base import Stage, StageContext
from streamseg.stages.broadcast import Broadcast
from streamseg.stages.join import JoinedFrame, NewestJoin, OrderedJoin, ReceivedFrame
from streamseg.stages.propagation import Propagation
from streamseg.wire.protocol import EncodedResult, encode_result

_HEARTBEAT_NS = 1_000_000_000
_FAREWELL_MS = 500
_IN_TIME_MS = 45.0
"""Age of a frame, when it has been sent, beyond which there is no time to make good masks better."""


class PublishStage(Stage):
    """Everything that leaves the pipeline leaves here, frame by frame, from one result."""

    def __init__(self, context: StageContext) -> None:
        super().__init__(context)
        self._live = self.spec.live
        self._source = self.spec.lane.name
        self._frames = context.receiver("capture", self._source, FrameDescriptor | EndOfStream)
        self._boxes = context.receiver("detect", self._source, Boxes)
        self._masks = context.receiver("segment", self._source, Masks)
        tapped = context.has_link_to("pipeline")
        self._tap = context.sender("pipeline", self._source, linger_ms=_FAREWELL_MS) if tapped else None
        resume = self.spec.lane.acknowledged
        last_seq = -1 if resume is None else resume
        max_age_ms = self.config.propagate.max_age_ms
        self._join: NewestJoin | OrderedJoin = NewestJoin(max_age_ms, last_seq) if self._live else OrderedJoin(last_seq)
        self._last_seq = resume
        self._foreseen_seq = last_seq
        self._end: EndOfStream | None = None
        self._finished = False
        self._unconfirmed: Published | None = None
        self._dropped = Dropped()
        self._overrun = self._masks_limited = 0
        self._heartbeat_ns = 0

    def prepare(self) -> Ready:
        """Bind the endpoint, and make ready to carry masks."""
        settings = self.config
        self._propagation = Propagation.from_config(settings, self.spec.models.segmenter)
        self._broadcast = Broadcast(self.context.sockets, settings.publish, self._source)
        for socket in self._broadcast.sockets:
            self.context.watch(socket)
        self._recorder = Recorder(settings.record, resume=self.spec.lane.acknowledged is not None)
        return Ready(settings.publish.bind)

    def instruct(self, message: ToStage) -> None:
        """Put the supervisor's news on the wire."""
        if isinstance(message, Announce):
            self._broadcast.send_state(
                SourceState(
                    run_id=self.spec.run_id,
                    source=self._source,
                    stage=message.stage,
                    state=message.state,
                    detail=message.detail,
                )
            )

    def turn(self) -> bool:
        """Take in what has arrived and publish what is complete."""
        before = self._last_seq
        match self._frames.receive():  # first: a frame is the only thing whose time of receipt is recorded
            case FrameDescriptor() as frame:
                self._receive(frame)
            case EndOfStream() as end:
                self._end = end
        self._frames.grant()
        self._broadcast.service()
        if self._tap is not None:
            self._tap.service()
        while (boxes := self._boxes.receive()) is not None:
            self._join.add_boxes(boxes)
        while (masks := self._masks.receive()) is not None:
            self._join.add_masks(masks)
            self._propagation.add(masks)
        while self._outlet_open() and (joined := self._join.take()) is not None:
            self._publish(joined)
        self._foresee()
        self._beat()
        if self._end is not None and not self._finished and self._outlet_open():
            self._finish_if_complete(self._end)
        return self._last_seq != before

    def close(self, reason: str) -> None:
        """Finish the recordings and say goodbye."""
        self._publish_held()
        if not self._finished:
            self._conclude(reason)

    def _outlet_open(self) -> bool:
        """Whether the next result can go everywhere.

        A parent process that iterates is waited for where nothing may be lost. Its credit says that it has the result before, which
        only then counts as published: a publish process that takes over would otherwise skip it.
        """
        if self._tap is None or self._live:
            return True
        if not self._tap.credit:
            return False
        if self._unconfirmed is not None:
            self.context.report(self._unconfirmed)
            self._unconfirmed = None
        return True

    def _receive(self, descriptor: FrameDescriptor) -> None:
        if not self._join.wants(descriptor):
            if isinstance(self._join, OrderedJoin) and descriptor.seq <= self._join.last_seq:
                # The process before this one published it.
                self.context.report(Done(self._source, descriptor.seq))
            return
        try:
            image = self.context.frames.read(descriptor.ring, descriptor.seq) if self._picture_wanted() else None
        except FrameOverrunError:
            self._overrun += 1
            return
        self._join.add_frame(ReceivedFrame(descriptor, image, time.monotonic_ns()))

    def _foresee(self) -> None:
        """Begin a live frame that waits for its boxes."""
        waiting = self._join.waiting if isinstance(self._join, NewestJoin) else None
        if waiting is not None and waiting.descriptor.seq > self._foreseen_seq:
            self._foreseen_seq = waiting.descriptor.seq
            self._propagation.prefetch(waiting.descriptor, waiting.image)

    def _picture_wanted(self) -> bool:
        looked_at = self.config.carries_masks or self._recorder.wants_picture
        return looked_at or self._broadcast.wants("clean") or self._broadcast.wants("overlay")

    def _publish(self, joined: JoinedFrame) -> None:
        frame = joined.frame.descriptor
        result = self._result(joined)
        age_ms = _since(frame, time.monotonic_ns())
        result = dataclasses.replace(result, timings=msgspec.structs.replace(result.timings, published=age_ms))
        encoded = encode_result(result, "masks")
        self._masks_limited += encoded.masks_limited
        self._broadcast.send_result(encoded)
        if self._tap is not None:
            self._tap.send(encoded.parts)
        self._show(result, encoded, joined.frame)
        self._last_seq = frame.seq
        named = {item.detection.class_name for item in result.objects}
        published = Published(
            source=self._source,
            seq=frame.seq,
            pts_ns=frame.pts_ns,
            age_ms=age_ms,
            boxes_seq=result.boxes_seq,
            masks_seq=None if joined.masks is None else joined.masks.seq,
            objects=len(result.objects),
            masks=tuple(PublishedMask(item.method, item.age_ms) for item in result.objects if item.mask is not None),
            classes=tuple(sorted(named)),
            dropped=result.dropped,
        )
        if self._tap is not None and not self._live:
            self._unconfirmed = published
        else:
            self.context.report(published)
        self._propagation.refine(hurried=self._live and _since(frame, time.monotonic_ns()) > _IN_TIME_MS)

    def _show(self, result: Result, encoded: EncodedResult, frame: ReceivedFrame) -> None:
        """Record a result that has been sent, and send it with its pictures: who wants masks alone does not wait for those."""
        image = frame.image
        if image is not None:
            self._broadcast.send_picture(encoded, "clean", image)
            if self._recorder.wants_overlay or self._broadcast.wants("overlay"):
                overlay = render(image, result)
                drawn = msgspec.structs.replace(result.timings, rendered=_since(frame.descriptor, time.monotonic_ns()))
                result = dataclasses.replace(result, timings=drawn)
                ready = msgspec.structs.replace(drawn, published=drawn.rendered)
                self._broadcast.send_picture(encoded.with_timings(ready), "overlay", overlay)
                image = overlay if self._recorder.wants_overlay else image
        self._recorder.write(result, image)

    def _result(self, joined: JoinedFrame) -> Result:
        frame, boxes, masks = joined.frame.descriptor, joined.boxes, joined.masks
        self._count_dropped(frame, boxes, masks)

        own_boxes = boxes if boxes is not None and boxes.seq == frame.seq else None
        own_masks = masks if masks is not None and masks.seq == frame.seq else None
        return Result(
            run_id=self.spec.run_id,
            epoch=frame.epoch,
            seq=frame.seq,
            source=self._source,
            width=frame.width,
            height=frame.height,
            pts_ns=frame.pts_ns,
            t_capture_unix_ns=frame.t_capture_unix_ns,
            timings=Timings(
                received=_since(frame, joined.frame.t_received_ns),
                detected=None if own_boxes is None else _since(frame, own_boxes.t_detected_ns),
                encoded=None if own_masks is None else _since(frame, own_masks.t_encoded_ns),
                decoded=None if own_masks is None else _since(frame, own_masks.t_decoded_ns),
            ),
            dropped=self._dropped,
            models=self.spec.models,
            boxes_seq=None if boxes is None else boxes.seq,
            objects=() if boxes is None else self._propagation.update(frame, joined.frame.image, boxes, masks),
        )

    def _count_dropped(self, frame: FrameDescriptor, boxes: Boxes | None, masks: Masks | None) -> None:
        self._dropped = Dropped(
            detect_replaced=frame.detect_replaced,
            publish_replaced=frame.publish_replaced,
            segment_replaced=self._dropped.segment_replaced if boxes is None else boxes.segment_replaced,
            detect_overrun=self._dropped.detect_overrun if boxes is None else boxes.overrun,
            segment_overrun=self._dropped.segment_overrun if masks is None else masks.overrun,
            publish_overrun=self._overrun,
            masks_limited=self._masks_limited,
        )

    def _beat(self) -> None:
        now = time.monotonic_ns()
        if now - self._heartbeat_ns >= _HEARTBEAT_NS:
            self._heartbeat_ns = now
            self._broadcast.send_heartbeat(
                Heartbeat(
                    run_id=self.spec.run_id,
                    source=self._source,
                    seq=self._last_seq,
                    t_unix_ns=time.time_ns(),
                )
            )

    def _finish_if_complete(self, end: EndOfStream) -> None:
        self._publish_held()
        if isinstance(self._join, OrderedJoin) and end.seq is not None and self._join.last_seq < end.seq:
            return
        self._conclude(end.reason)
        self.context.report(Finished(self._source, self._last_seq, end.reason))

    def _publish_held(self) -> None:
        """In live mode no frame follows any more: publish the one that still waits for it."""
        if isinstance(self._join, NewestJoin):
            self._join.flush()
            while (joined := self._join.take()) is not None:
                self._publish(joined)

    def _conclude(self, reason: str) -> None:
        self._finished = True
        self._recorder.finish()
        end = End(run_id=self.spec.run_id, source=self._source, seq=self._last_seq, reason=reason)
        self._broadcast.say_goodbye(end)


def _since(frame: FrameDescriptor, t_ns: int) -> float:
    return (t_ns - frame.t_capture_ns) / 1e6
