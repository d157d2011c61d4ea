"""Detect: finds the objects of each frame, gives them track ids, and sends keyframes to segment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from streamseg.duplicates import merge_boxes
from streamseg.errors import FrameGoneError
from streamseg.ipc.descriptors import Boxes, FrameDescriptor, Keyframe
from streamseg.ipc.links import Receiver, Sender
from streamseg.ipc.recent import Recent
from streamseg.ipc.stage_messages import Acknowledge, LaneSpec, Ready
from streamseg.messages import Detection, Image
from streamseg.models import Detector, StatefulDetector
from streamseg.models.options import Compute, DetectorSettings
from streamseg.models.registry import create_detector
from streamseg.stages.base import SharedStage, StageContext
from streamseg.stages.fair_turns import FairTurns
from streamseg.stages.tracking import LOW_SHARE, Tracker

_SAVE_NS = 1_000_000_000
_NO_MEMORY: Final[Mapping[str, bytes]] = {}


class DetectStage(SharedStage):
    """Runs the detector on the frames of all sources in turn. Boxes are repeated when capture repeats their frames."""

    def __init__(
        self, context: StageContext, create_detector: Callable[[DetectorSettings, Compute], Detector] = create_detector
    ) -> None:
        super().__init__(context)
        self._create_detector = create_detector
        self._lanes = {lane.name: _DetectLane(context, lane) for lane in self.spec.lanes}
        self._turns = FairTurns(self._lanes)

    def prepare(self) -> Ready:
        """Load the detector. With a tracker, it also returns the boxes of low confidence that only continue tracks."""
        self._load_detector()
        for lane in self._lanes.values():
            lane.restore()
        return Ready(self._detector.name)

    def add_lane(self, lane: LaneSpec) -> None:
        """Open the links of a source. The detector is loaded again if it does not report all that the source needs."""
        memories = {name: each.memory for name, each in self._lanes.items()}
        added = self._lanes[lane.name] = _DetectLane(self.context, lane)
        self._turns.add(lane.name)
        if self._settings() == self._used:
            added.use(self._detector_of_another(), self._used)
        else:
            self.context.progress()
            self._load_detector(memories)
        added.restore()

    def remove_lane(self, source: str) -> list[Sender[Any] | Receiver[Any]]:
        """Forget a source and its tracks."""
        self._turns.remove(source)
        return self._lanes.pop(source).links

    def _load_detector(self, memories: Mapping[str, bytes] = _NO_MEMORY) -> None:
        """Load a detector that serves all sources; `memories` are those of the one before, by source."""
        self._used = self._settings()
        self._detector = self._create_detector(self._used, self.spec.compute)
        for place, (name, lane) in enumerate(self._lanes.items()):
            detector = self._detector_of_another() if place else self._detector
            lane.use(detector, self._used, memories.get(name, b""))

    def _detector_of_another(self) -> Detector:
        """The detector of a further source: one with a memory needs that for each."""
        if isinstance(self._detector, StatefulDetector):
            return self._create_detector(self._used, self.spec.compute)
        return self._detector

    def _settings(self) -> DetectorSettings:
        """What serves every source: the least confidence, and all classes that one of them keeps."""
        own = [self.config.of(lane.name).detector for lane in self.spec.lanes]
        kept = [each.classes for each in own if each.classes is not None]
        return msgspec.structs.replace(
            self.config.detector,
            conf=min((each.conf for each in own), default=self.config.detector.conf)
            * (LOW_SHARE if self.config.tracks else 1),
            classes=tuple(dict.fromkeys(name for names in kept for name in names)) if len(kept) == len(own) else None,
        )

    def turn(self) -> bool:
        """Take one frame, of the source that has the turn."""
        for lane in self._lanes.values():
            lane.service()
        needs = {name: 1.0 for name, lane in self._lanes.items() if lane.waiting is not None}
        chosen = self._turns.choose(needs)
        if chosen is not None:
            self._lanes[chosen].take()
            self._turns.served(chosen, needs)
        for lane in self._lanes.values():
            lane.grant()  # last: the loop waits next, and without a grant no frame arrives
        if len(needs) > 1:
            self.context.wake()
        return chosen is not None

    def close(self, reason: str) -> None:
        """Nothing is left to do."""


class _DetectState(msgspec.Struct, frozen=True):
    """What a detect process that takes over needs of a source.

    Attributes:
        tracker: The tracker's state after frame `last_seq`.
        detector: The detector's; empty if it has none.
        recent: The boxes sent last. They are repeated as they are, so that a restart changes no result.
    """

    last_seq: int
    last_keyframe: int | None
    tracker: bytes
    detector: bytes
    recent: tuple[Boxes, ...]


class _DetectLane:
    """Detect's part of one source: its links, its tracker, and the boxes sent last.

    Attributes:
        waiting: The frame that waits for its turn; None without one.

    In every-frame mode it handles frames strictly in order, and sends the same boxes again for a repeated frame.
    """

    def __init__(self, context: StageContext, lane: LaneSpec) -> None:
        self._context = context
        self._name = lane.name
        self._config = context.spec.config.of(lane.name)
        self._chooses = False
        self._live = context.spec.live
        self._frames: Receiver[FrameDescriptor] = context.receiver("capture", lane.name, FrameDescriptor)
        self.waiting: FrameDescriptor | None = None
        self._replaced = 0
        self._to_segment: Sender[Keyframe] = context.sender("segment", lane.name)
        self._to_publish: Sender[Boxes] = context.sender("publish", lane.name)
        self._snapshot = context.snapshot(lane)
        self._recent: Recent[Boxes] = Recent()
        self._last_seq = -1 if lane.resume_after is None else lane.resume_after
        self._last_keyframe: int | None = None
        self._overrun = lane.dropped.detect_overrun
        self._saved_id = self._saved_ns = 0
        self._tracker = Tracker(self._config.detector.conf) if self._config.tracks else None

    @property
    def links(self) -> list[Sender[Any] | Receiver[Any]]:
        """All of its links."""
        return [self._frames, self._to_segment, self._to_publish]

    def service(self) -> None:
        """Send what waits for credit, and receive a frame; in live mode, the newest one waits for its turn."""
        self._to_segment.service()
        self._to_publish.service()
        while self._accepts and (frame := self._frames.receive()) is not None:
            self._replaced += self.waiting is not None
            self.waiting = frame

    def grant(self) -> None:
        """Allow capture a frame."""
        if self._accepts:
            self._frames.grant()

    @property
    def _accepts(self) -> bool:
        return self._live or self.waiting is None

    def take(self) -> None:
        """Find the objects of the frame that waits and send them, or repeat what was sent for it."""
        frame, self.waiting = self.waiting, None
        assert frame is not None
        if frame.seq in self._recent and not self._live:
            self._send(frame, self._recent[frame.seq])
            return
        is_next = frame.seq > self._last_seq if self._live else frame.seq == self._last_seq + 1
        if is_next:
            try:
                image = self._context.frames.read(frame.ring, frame.seq)
            except FrameGoneError:
                self._overrun += self._live  # in every-frame mode, capture repeats it
                return
            self._detect(frame, image)

    @property
    def memory(self) -> bytes:
        """What the detector keeps of the frames before; empty if it keeps nothing."""
        return self._detector.state() if isinstance(self._detector, StatefulDetector) else b""

    def use(self, detector: Detector, settings: DetectorSettings, memory: bytes = b"") -> None:
        """Use a detector with these settings; it continues from a memory, if there is one."""
        if memory and isinstance(detector, StatefulDetector):
            detector.restore(memory)
        self._detector = detector
        own = self._config.detector
        self._chooses = self._least_confidence > settings.conf or own.classes != settings.classes

    def restore(self) -> None:
        """Continue where an earlier process stopped, if there was one."""
        saved = self._snapshot.load()
        if saved is None:
            return
        state = msgspec.msgpack.decode(saved, type=_DetectState)
        self._last_seq = max(self._last_seq, state.last_seq)
        self._last_keyframe = state.last_keyframe
        for boxes in state.recent:
            self._recent.add(boxes.seq, boxes)
        if self._tracker is not None:
            self._tracker.restore(state.tracker)
        if state.detector and isinstance(self._detector, StatefulDetector):
            self._detector.restore(state.detector)

    def _detect(self, frame: FrameDescriptor, image: Image) -> None:
        detections = tuple(filter(self._keeps, self._detector.detect(image)))
        if self._config.detector.merge_duplicates:
            detections = merge_boxes(detections)
        if self._tracker is not None:
            detections = self._tracker.update(image, detections, frame.t_capture_ns if self._live else frame.pts_ns)
        self._last_seq = frame.seq
        boxes = Boxes(
            source=self._name,
            seq=frame.seq,
            detections=detections,
            keyframe=self._is_keyframe(frame.seq, detections),
            t_detected_ns=self._context.clock.now_ns(),
            overrun=self._overrun,
            segment_replaced=self._to_segment.replaced,
            replaced=self._replaced,
        )
        if not self._live:
            self._recent.add(boxes.seq, boxes)
        self._save()  # before sending: what was sent must be repeated exactly after a restart
        self._send(frame, boxes)

    def _keeps(self, detection: Detection) -> bool:
        """Whether this source keeps a detection, which another source may have wanted."""
        classes = self._config.detector.classes
        return not self._chooses or (
            detection.confidence >= self._least_confidence
            and (classes is None or detection.class_name in classes or detection.class_id in classes)
        )

    @property
    def _least_confidence(self) -> float:
        return self._config.detector.conf * (LOW_SHARE if self._config.tracks else 1)

    def _is_keyframe(self, seq: int, detections: tuple[Detection, ...]) -> bool:
        interval = self._config.segmenter.keyframe_interval
        if not detections:
            return False
        if not self._live:
            return seq % interval == 0
        if self._last_keyframe is not None and seq - self._last_keyframe < interval:
            return False
        self._last_keyframe = seq
        return True

    def _send(self, frame: FrameDescriptor, boxes: Boxes) -> None:
        if boxes.keyframe:
            self._to_segment.send(Keyframe(frame=frame, detections=boxes.detections))
        self._to_publish.send(boxes)
        if not self._live:
            self._context.report(Acknowledge(self._name, boxes.seq))

    def _save(self) -> None:
        """Save the state. Live mode saves once a second and at each new track id; it need not be exact."""
        now_ns, highest_id = self._context.clock.now_ns(), 0 if self._tracker is None else self._tracker.highest_id
        if self._live and highest_id == self._saved_id and now_ns - self._saved_ns < _SAVE_NS:
            return
        self._saved_id, self._saved_ns = highest_id, now_ns
        tracker = b"" if self._tracker is None else self._tracker.state()
        state = _DetectState(self._last_seq, self._last_keyframe, tracker, self.memory, tuple(self._recent.values()))
        self._snapshot.save(msgspec.msgpack.encode(state))
