"""Publish: joins frames with boxes and masks, and hands the result of each frame to its sinks."""

from __future__ import annotations

import dataclasses
import logging
from functools import partial

import msgspec

from streamseg.colours import Colours
from streamseg.errors import FrameGoneError
from streamseg.ipc.descriptors import Boxes, EndOfStream, FrameDescriptor, Masks
from streamseg.ipc.links import LINGER_MS
from streamseg.ipc.stage_messages import Acknowledge, Announce, Finished, OthersFollow, Ready, ToStage
from streamseg.messages import (
    FAILED,
    RUNNING,
    STARTING,
    End,
    Heartbeat,
    Image,
    ResultMessage,
    SourceState,
    Timings,
    TrackedObject,
)
from streamseg.render import render
from streamseg.sinks.links import MetricsSink, RecordSink, TapSink
from streamseg.sinks.network import MaskSink, Network, PictureSink
from streamseg.sinks.sink import Overlay, Pictures, PublishedResult, Sink
from streamseg.stages.base import Stage, StageContext
from streamseg.stages.frame_budget import FrameBudget
from streamseg.stages.join import JoinedFrame, NewestJoin, OrderedJoin, ReceivedFrame
from streamseg.stages.losses import Losses
from streamseg.stages.notices import Notices
from streamseg.stages.propagation import Propagation
from streamseg.topology import TAP
from streamseg.wire.protocol import encode_result

_log = logging.getLogger(__name__)

_HEARTBEAT_NS = 1_000_000_000
_EARLY_HEARTBEATS = 16
"""For new subscribers, in a second. Every subscriber gets them, and has room for few messages."""
_IN_TIME_MS = 45.0
"""Age of a published frame beyond which the frames that follow are too late to refine good masks."""


class PublishStage(Stage):
    """Everything that leaves the pipeline leaves here, frame by frame, from one result."""

    def __init__(self, context: StageContext) -> None:
        super().__init__(context)
        self._live = self.spec.live
        self._source = self.spec.lane.name
        self._frames = context.receiver("capture", self._source, FrameDescriptor | EndOfStream)
        self._boxes = context.receiver("detect", self._source, Boxes)
        self._masks = context.receiver("segment", self._source, Masks)
        self._tap = context.sender(TAP, self._source, LINGER_MS) if context.has_link_to(TAP) else None
        self._record: RecordSink | None = None
        if context.has_link_to("record"):
            sender = context.sender("record", self._source, LINGER_MS)
            self._record = RecordSink(sender, context.clock, live=self._live)
        lane = self.spec.lane
        self._run_id = lane.run_id
        self._snapshot = context.snapshot(lane)
        self._published_before = -1 if lane.highest_acknowledged is None else lane.highest_acknowledged
        # Results that an earlier process published, but that are not recorded, are made again for the recorder alone.
        resume = lane.highest_acknowledged if self._record is None else lane.resume_after
        last_seq = -1 if resume is None else resume
        max_age_ms = self.config.propagate.max_age_ms
        self._join: NewestJoin | OrderedJoin = NewestJoin(max_age_ms, last_seq) if self._live else OrderedJoin(last_seq)
        self._last_seq = resume
        self._prefetched_seq = last_seq
        self._end: EndOfStream | None = None
        self._finished = self._others_follow = False
        self._losses = Losses(lane.dropped, takes_over=lane.highest_acknowledged is not None)
        self._heartbeat_ns = self._second_ns = 0
        self._early_heartbeats = 0
        self._state, self._detail = lane.state, lane.detail
        self._held = self.config.publish.wait_for_subscriber
        self._notices = Notices(self.config, self.spec.models)
        self._budget = FrameBudget(context.clock)

    def prepare(self) -> Ready:
        """Connect to the hub and load what propagation needs."""
        settings = self.config
        budget = self._budget if self._live else None
        self._propagation = Propagation.from_config(settings, self.spec.models.segmenter, budget)
        self._colours = Colours(self._snapshot.load())
        quality = settings.publish.quality
        self._network = Network(self.context.sockets, self.spec.hub, self._source, quality, live=self._live)
        self.context.watch(self._network.socket)
        self._metrics = MetricsSink(self.context.report, hold=self._tap is not None and not self._live)
        self._sinks: list[Sink] = [MaskSink(self._network)]
        if self._tap is not None:
            self._sinks.append(TapSink(self._tap))
        if self._record is not None:
            self._sinks.append(self._record)
        self._sinks += [PictureSink(self._network), self._metrics]
        if self._held:
            _log.warning("the first frame waits for a subscriber (publish.wait_for_subscriber)")
        return Ready(self._source)

    def instruct(self, message: ToStage) -> None:
        """Put a change of the source or of a stage on the wire; nothing follows the end of the results."""
        if isinstance(message, OthersFollow):
            self._others_follow = message.follow
        if isinstance(message, Announce) and not self._finished:
            if message.stage == "capture" or message.state == FAILED:
                self._state, self._detail = message.state, message.detail
            else:
                self._notices.change(message.stage, message.state)
            self._network.send_state(
                SourceState(
                    run_id=self._run_id,
                    source=self._source,
                    stage=message.stage,
                    state=message.state,
                    detail=message.detail,
                )
            )

    def turn(self) -> bool:
        """Take what has arrived and publish what is complete."""
        before = self._last_seq
        with self._budget.turn():
            self._work()
        if self._last_seq != before:
            self._budget.add_published()
        return self._last_seq != before

    def _work(self) -> None:
        if not self._held:
            self._receive()  # first: only for frames is the time of receipt recorded
        self._send_heartbeat(newcomer=self._network.service())
        self._held = self._held and not self._network.requested
        if self._tap is not None:
            self._tap.service()
        if self._record is not None:
            self._record.service()
        while (boxes := self._boxes.receive()) is not None:
            self._join.add_boxes(boxes)
        while (masks := self._masks.receive()) is not None:
            self._join.add_masks(masks)
            self._propagation.add(masks)
            self._notices.add(masks)
        while self._tap_is_ready() and (joined := self._join.take()) is not None:
            self._publish(joined)
        self._prefetch()
        if self._end is not None and not self._finished and self._tap_is_ready():
            self._finish_if_complete(self._end)

    def close(self, reason: str) -> None:
        """Publish the last frame and end every sink."""
        self._publish_held()
        if not self._finished:
            self._close_sinks(reason)

    def _tap_is_ready(self) -> bool:
        """Whether the loop over a `Pipeline` takes the next result; in live mode, nothing waits for it.

        Its credit also confirms the result before. Only then does that one count as published: otherwise a publish
        process that takes over would skip it.
        """
        if self._tap is None or self._live:
            return True
        if not self._tap.credit:
            return False
        self._metrics.confirm()
        return True

    def _receive(self) -> None:
        match self._frames.receive():
            case FrameDescriptor() as frame:
                self._add_frame(frame)
            case EndOfStream() as end:
                self._end = end
                if self._finished and self._record is not None:
                    self._record.repeat_end()
        self._frames.grant()

    def _add_frame(self, frame: FrameDescriptor) -> None:
        if self._state == STARTING:
            self._state = RUNNING
        self._budget.add_frame(frame.seq, frame.t_capture_ns)
        if self._join.needs(frame):
            wanted = self.config.propagates_masks or any(sink.wants() for sink in self._sinks)
            try:
                image = self.context.frames.read(frame.ring, frame.seq) if wanted else None
            except FrameGoneError:
                if self._live:  # in every-frame mode, capture repeats it
                    self._losses.add_overrun()
                return
            self._join.add_frame(ReceivedFrame(frame, image, self.context.clock.now_ns()))
        elif not self._live:  # capture repeats it for a process that is new
            if frame.seq <= self._published_before:
                self.context.report(Acknowledge(self._source, frame.seq))
            if self._record is not None:
                self._record.repeat(frame)

    def _prefetch(self) -> None:
        """Prepare a live frame while it waits for its boxes."""
        waiting = self._join.waiting if isinstance(self._join, NewestJoin) else None
        if waiting is not None and waiting.descriptor.seq > self._prefetched_seq:
            self._prefetched_seq = waiting.descriptor.seq
            self._propagation.prefetch(waiting.descriptor, waiting.image)

    def _publish(self, joined: JoinedFrame) -> None:
        frame = joined.received.descriptor
        result = self._result(joined)
        age_ms = self._age_ms(frame)
        result = dataclasses.replace(result, timings=msgspec.structs.replace(result.timings, published=age_ms))
        encoded = encode_result(result, "masks")
        self._losses.add_limited(encoded.masks_limited)
        masks_seq = None if joined.masks is None else joined.masks.seq
        published = PublishedResult(frame, result, encoded, age_ms, masks_seq, self._notices.suggestion)
        pictures = Pictures(joined.received.image, partial(self._draw, published))
        self._last_seq = frame.seq
        if frame.seq > self._published_before:
            for sink in self._sinks:
                sink.write(published, pictures)
        elif self._record is not None:
            self._record.write(published, pictures)
            self.context.report(Acknowledge(self._source, frame.seq))
        self._propagation.refine(hurried=self._live and self._age_ms(frame) > _IN_TIME_MS)

    def _draw(self, published: PublishedResult, image: Image) -> Overlay:
        overlay = render(image, published.result, self.config.render)
        return Overlay(overlay, self._age_ms(published.frame))

    def _result(self, joined: JoinedFrame) -> ResultMessage:
        frame, boxes, masks = joined.received.descriptor, joined.boxes, joined.masks
        self._losses.note(frame, boxes, masks)
        own_boxes = boxes if boxes is not None and boxes.seq == frame.seq else None
        own_masks = masks if masks is not None and masks.seq == frame.seq else None
        objects = () if boxes is None else self._objects(joined.received, boxes, masks)
        self._notices.update(objects, self.context.clock.now_ns())
        return ResultMessage(
            run_id=self._run_id,
            epoch=frame.epoch,
            seq=frame.seq,
            source=self._source,
            width=frame.width,
            height=frame.height,
            pixel_aspect=frame.pixel_aspect,
            pts_ns=frame.pts_ns,
            t_capture_unix_ns=frame.t_capture_unix_ns,
            timings=Timings(
                received=frame.age_ms(joined.received.t_received_ns),
                detected=None if own_boxes is None else frame.age_ms(own_boxes.t_detected_ns),
                encoded=None if own_masks is None else frame.age_ms(own_masks.t_encoded_ns),
                decoded=None if own_masks is None else frame.age_ms(own_masks.t_decoded_ns),
            ),
            dropped=self._losses.counts,
            models=self._notices.models,
            boxes_seq=None if boxes is None else boxes.seq,
            mode=self.config.resolved_mode,
            objects=objects,
        )

    def _objects(self, received: ReceivedFrame, boxes: Boxes, masks: Masks | None) -> tuple[TrackedObject, ...]:
        frame = received.descriptor
        objects = self._propagation.update(frame, received.image, boxes, masks)
        if self._colours.give(objects, frame.seq):
            self._snapshot.save(self._colours.state())
        return self._colours.apply(objects)

    def _send_heartbeat(self, *, newcomer: bool) -> None:
        now = self.context.clock.now_ns()
        if now - self._second_ns >= _HEARTBEAT_NS:
            self._second_ns, self._early_heartbeats = now, 0
        self._early_heartbeats += newcomer
        early = newcomer and self._early_heartbeats <= _EARLY_HEARTBEATS
        if not self._finished and (early or now - self._heartbeat_ns >= _HEARTBEAT_NS):
            self._heartbeat_ns = now
            self._network.send_heartbeat(
                Heartbeat(
                    run_id=self._run_id,
                    source=self._source,
                    seq=self._last_seq,
                    t_unix_ns=self.context.clock.unix_ns(),
                    state=self._state,
                    detail=self._detail,
                )
            )

    def _finish_if_complete(self, end: EndOfStream) -> None:
        self._publish_held()
        if isinstance(self._join, OrderedJoin) and end.seq is not None and self._join.last_seq < end.seq:
            return
        self._close_sinks(end.reason)
        if self._record is None:  # otherwise the recorder, which comes last, reports the end
            self.context.report(Finished(self._source, self._last_seq, end.reason))

    def _publish_held(self) -> None:
        """In live mode, publish the frame that waits for the next one."""
        if isinstance(self._join, NewestJoin):
            self._join.flush()
            while (joined := self._join.take()) is not None:
                self._publish(joined)

    def _close_sinks(self, reason: str) -> None:
        self._finished = True
        end = End(
            run_id=self._run_id,
            source=self._source,
            seq=self._last_seq,
            reason=reason,
            unreadable=0 if self._end is None else self._end.unreadable,
            others_follow=self._others_follow,
        )
        for sink in self._sinks:
            sink.close(end)

    def _age_ms(self, frame: FrameDescriptor) -> float:
        return frame.age_ms(self.context.clock.now_ns())
