"""Detect: finds the objects of each frame, numbers their tracks, and asks for the masks of keyframes."""

from __future__ import annotations

import time
from pathlib import Path

from streamseg.errors import FrameOverrunError
from streamseg.ipc.control import Detected, Ready, ToStage
from streamseg.ipc.descriptors import Boxes, FrameDescriptor, Keyframe
from streamseg.ipc.links import LinkSender
from streamseg.ipc.ring import RingReader
from streamseg.models.options import DetectorOptions
from streamseg.models.registry import create_detector
from streamseg.stages.answers import LatestAnswers
from streamseg.stages.base import Stage, Station
from streamseg.stages.tracking import Tracker

_STATE_NS = 1_000_000_000


class DetectStage(Stage):
    """Answers every frame that it takes; in every-frame mode strictly in order, so that a restart changes nothing."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self._live = self.config.resolved_mode == "live"
        self._frames = station.receiver("frames-detect", FrameDescriptor, station.policy)
        self._to_segment: LinkSender[Keyframe] = station.sender("keyframes", station.policy)
        self._to_publish: LinkSender[Boxes] = station.sender("boxes", "ordered")
        self._ring = RingReader()
        self._answers: LatestAnswers[Boxes] = LatestAnswers()
        resume = self.assignment.resume_after
        self._last_seq = -1 if resume is None else resume
        self._overrun = 0
        self._last_keyframe: int | None = None
        self._t_state_ns = 0
        self._tracker = Tracker(self.config.detector.conf) if self.config.tracker.model == "bytetrack" else None
        if self._tracker is not None:
            self._tracker.restore(self.assignment.tracker_state, self.assignment.highest_id)

    def prepare(self) -> Ready:
        """Load the detector and run it once."""
        settings = self.config.detector
        weights = self.assignment.detector_weights
        self._detector = create_detector(
            DetectorOptions(
                model=self.assignment.models.detector,
                weights=None if weights is None else Path(weights),
                conf=settings.conf,
                iou=settings.iou,
                max_det=settings.max_det,
                imgsz=settings.imgsz,
                classes=settings.classes,
                boxes=tuple((box.xyxy, box.name) for box in settings.boxes),
                device=self.config.device,
                threads=self.assignment.threads,
            )
        )
        return Ready(self._detector.name)

    def instruct(self, message: ToStage) -> None:
        """Nothing is ever asked of detect."""

    def close(self, reason: str) -> None:
        """Let go of the ring."""
        self._ring.close()

    def turn(self) -> bool:
        """Take one frame and answer it."""
        self._to_segment.service()
        self._to_publish.service()
        frame = self._frames.receive()
        if frame is not None:
            self._take(frame)
        self._frames.grant()  # last: whoever waits without having granted waits for nothing
        return frame is not None

    def _take(self, frame: FrameDescriptor) -> None:
        if self._live:
            if frame.seq > self._last_seq:
                self._answer(frame)
        elif frame.seq in self._answers:
            self._hand_on(frame, self._answers[frame.seq])
        elif frame.seq == self._last_seq + 1:
            self._answer(frame)

    def _answer(self, frame: FrameDescriptor) -> None:
        try:
            image = self._ring.read(frame.ring, frame.seq)
        except FrameOverrunError:
            self._overrun += 1
            return
        detections = tuple(self._detector.detect(image))
        if self._tracker is not None:
            detections = self._tracker.update(detections, frame.t_capture_ns if self._live else frame.pts_ns)
        self._last_seq = frame.seq
        boxes = Boxes(
            seq=frame.seq,
            detections=detections,
            keyframe=bool(detections) and self._is_keyframe(frame.seq),
            t_detected_ns=time.monotonic_ns(),
            tracker_state=self._tracker_state(),
            overrun=self._overrun,
            segment_replaced=self._to_segment.replaced,
        )
        self._hand_on(frame, boxes)
        if not self._live:
            self._answers.remember(boxes.seq, boxes)
            self.station.report(Detected(frame.seq))

    def _is_keyframe(self, seq: int) -> bool:
        interval = self.config.segmenter.keyframe_interval
        if not self._live:
            return seq % interval == 0
        if self._last_keyframe is not None and seq - self._last_keyframe < interval:
            return False
        self._last_keyframe = seq
        return True

    def _tracker_state(self) -> bytes:
        """What a process that takes over has to know; in live mode, where it need not be exact, only now and then."""
        now = time.monotonic_ns()
        if self._tracker is None or (self._live and now - self._t_state_ns < _STATE_NS):
            return b""
        self._t_state_ns = now
        return self._tracker.state()

    def _hand_on(self, frame: FrameDescriptor, boxes: Boxes) -> None:
        if boxes.keyframe:
            self._to_segment.send(Keyframe(frame=frame, detections=boxes.detections))
        self._to_publish.send(boxes)
