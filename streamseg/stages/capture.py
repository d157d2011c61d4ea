"""Capture: reads the source, puts frames into the ring and announces them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

import msgspec

from streamseg.config import RunSource
from streamseg.errors import SourceError, StageError, StreamsegError
from streamseg.ipc.descriptors import EndOfStream, FrameDescriptor
from streamseg.ipc.frame_memory import FrameWriter
from streamseg.ipc.links import Sender
from streamseg.ipc.ring import DEFAULT_SLOTS
from streamseg.ipc.stage_messages import Ready, Released, Resend, RingCreated, SourceChanged, Start, ToStage
from streamseg.messages import Frame
from streamseg.sources import Source, SourceChange, SourceDamage
from streamseg.sources.opening import open_source
from streamseg.stages.base import Stage, StageContext
from streamseg.stages.frame_rate import FrameRate
from streamseg.stages.intake import Intake
from streamseg.wire.limits import SIDE

_log = logging.getLogger(__name__)


def _open_source(settings: RunSource, threads: int) -> Source:
    """Open a source; one that takes frames of other programs is a socket, of which the sources know nothing."""
    if settings.kind == "push":
        from streamseg.push.source import PushedSource

        return PushedSource(settings)
    return open_source(settings, threads)


class CaptureStage(Stage):
    """Writes the frames of a source to the ring: in live mode all of them, in every-frame mode when the ring has room.

    In every-frame mode at most seven frames are unacknowledged: one fewer than the ring has slots. Of a source with a
    rate, detect gets that many frames a second; publish gets the others too, or they are left out.
    """

    def __init__(self, context: StageContext, open_source: Callable[[RunSource, int], Source] = _open_source) -> None:
        super().__init__(context)
        self._open_source = open_source
        self._lane = self.spec.lane
        self._live = self.spec.live
        self._to_detect: Sender[FrameDescriptor] = context.sender("detect", self._lane.name)
        self._to_publish: Sender[FrameDescriptor | EndOfStream] = context.sender("publish", self._lane.name)
        self._ring: FrameWriter | None = None
        self._epoch = self._lane.epoch
        resume = self._lane.resume_after
        self._next_seq = 0 if resume is None else resume + 1
        self._acknowledged = self._next_seq - 1
        self._announced: deque[FrameDescriptor] = deque(maxlen=DEFAULT_SLOTS)
        self._end: EndOfStream | None = None
        self._failure: StreamsegError | None = None
        self._damage: SourceDamage | None = None
        leaves_out = self.config.analyse == "fps"
        self._kept = FrameRate(self.config.fps if leaves_out else None)
        self._analysed = FrameRate(None if leaves_out else self.config.fps)

    def prepare(self) -> Ready:
        """Open the source."""
        settings = self._lane.source
        if self._lane.resume_after is not None and settings.is_live:
            settings = msgspec.structs.replace(settings, wait=True)  # wait for a camera that worked before
        source = self._open_source(settings, self.spec.threads)
        if source.info.size is not None:
            self._check_size(*source.info.size)
        self._intake = Intake(
            source,
            self._next_seq,
            self.config.max_frames,
            live=settings.is_live,
            paced=self._live and not settings.is_live,
            fps=self._kept.fps,
        )
        self._intake.start(self.context.wake)
        if source.info.sound and self.config.record.video is not None and self._lane.resume_after is None:
            _log.warning("%s has sound; recordings have none", source.info.description)
        return Ready(source.info.description, self._kept.count(source.info.frame_count, source.info.fps))

    def instruct(self, message: ToStage) -> None:
        """Start, note released frames, or announce frames again."""
        match message:
            case Start(origin_ns, after_pts_ns):
                self._intake.release(origin_ns if self._live else None, after_pts_ns)
            case Released(seq=seq):
                self._acknowledged = max(self._acknowledged, seq)
            case Resend(after=after):
                self._resend(after)

    def turn(self) -> bool:
        """Write and announce a frame, if there is one and the ring has room."""
        self._to_detect.service()
        self._to_publish.service()
        if self._failure is not None and (self._live or self._acknowledged >= self._next_seq - 1):
            raise self._failure
        if self._ring is not None and not self._ring.intact():
            self._replace_ring(self._ring)
        if not self._has_room():
            return False
        match self._intake.take():
            case None:
                return False
            case Frame() as frame:
                if not self._prepare_ring(frame):
                    return False
                self._write(frame)
            case SourceChange(state, detail):
                self.context.report(SourceChanged(self._lane.name, state, detail))
            case SourceDamage() as damage:
                self._damage = damage
                _log.warning("%s: %s; is the file complete?", self._lane.source.address, damage)
            case StreamsegError() as error:
                self._failure = error  # raised when the frames before it are published
            case reason:
                last = self._next_seq - 1 if self._next_seq else None
                unreadable = 0 if self._damage is None else self._damage.missing
                if self._damage is not None:
                    reason = f"{reason}; {self._damage}"
                self._end = EndOfStream(source=self._lane.name, seq=last, reason=reason, unreadable=unreadable)
                self._to_publish.send(self._end, replace=False)
        self.context.wake()  # there may be more
        return True

    def close(self, reason: str) -> None:
        """Stop reading."""
        self._intake.stop()

    def _has_room(self) -> bool:
        return self._live or self._next_seq - self._acknowledged < DEFAULT_SLOTS

    def _prepare_ring(self, frame: Frame) -> bool:
        """Make a ring of the frame's size if there is none yet, and return whether the frame can be written now.

        A new ring drops the frames of the old one. In every-frame mode it waits until those are acknowledged.
        """
        if self._ring is not None:
            last = self._announced[-1]
            if (last.width, last.height) == (frame.width, frame.height):
                return True
            if not self._live and self._acknowledged < self._next_seq - 1:
                self._intake.put_back(frame)
                return False
            self._ring.close()
            self._epoch += 1
        if frame.image.size == 0:
            raise StageError("the source gave an empty frame")
        self._check_size(frame.width, frame.height)
        self._ring = self.context.frames.create(self._lane.ring, self._epoch, frame.height, frame.width)
        self._announced.clear()
        self.context.report(RingCreated(self._lane.name, self._ring.ring))
        return True

    def _check_size(self, width: int, height: int) -> None:
        if max(width, height) > SIDE:
            raise SourceError(
                f"{self._lane.source.address} has pictures of {width}x{height} pixels; a side may have at most {SIDE}: "
                "scale it down, or choose a smaller stream of the camera"
            )

    def _replace_ring(self, lost: FrameWriter) -> None:
        """Make a ring that readers find, with the frames of one that they no longer do, which lie in memory still."""
        _log.warning(
            "the shared memory %s was removed; its frames go to a new one. Does the system remove IPC objects at "
            "log-out (RemoveIPC in logind.conf)?",
            lost.ring.name,
        )
        self._epoch += 1
        self._ring = lost.move(self._epoch)
        self.context.report(RingCreated(self._lane.name, self._ring.ring))
        for _ in range(len(self._announced)):
            self._announced.append(msgspec.structs.replace(self._announced.popleft(), ring=self._ring.ring))
        self._resend(self._acknowledged)

    def _write(self, frame: Frame) -> None:
        assert self._ring is not None
        self._ring.write(self._next_seq, frame.image)
        descriptor = FrameDescriptor(
            source=self._lane.name,
            seq=self._next_seq,
            ring=self._ring.ring,
            width=frame.width,
            height=frame.height,
            pts_ns=frame.pts_ns,
            t_capture_ns=frame.t_capture_ns,
            t_capture_unix_ns=frame.t_capture_unix_ns,
            pixel_aspect=frame.pixel_aspect,
            analysed=self._analysed.takes(frame.pts_ns),
            detect_replaced=self._to_detect.replaced,  # publish adds up the counts of all processes
            publish_replaced=self._lane.dropped.publish_replaced + self._to_publish.replaced,
        )
        self._announced.append(descriptor)
        self._next_seq += 1
        self._to_publish.send(descriptor)
        if descriptor.analysed:
            self._to_detect.send(descriptor)

    def _resend(self, after: int) -> None:
        for descriptor in self._announced:
            if not self._live and descriptor.seq > after:
                self._to_publish.send(descriptor)
                self._to_detect.send(descriptor)
        if self._end is not None:
            self._to_publish.send(self._end, replace=False)
