"""Capture: reads the source, puts frames into the ring and announces them."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from streamseg.errors import SettingsError, StageError, StreamsegError
from streamseg.ipc.control import Acknowledged, Ready, Resend, RingCreated, SourceChanged, Start, ToStage
from streamseg.ipc.descriptors import EndOfStream, FrameDescriptor
from streamseg.ipc.links import LinkSender
from streamseg.ipc.ring import DEFAULT_SLOTS, RingWriter
from streamseg.messages import Frame
from streamseg.sources import Source, SourceChange, SourceOptions
from streamseg.stages.base import Stage, Station
from streamseg.stages.intake import Intake

if TYPE_CHECKING:
    from streamseg.config import SourceSettings


class CaptureStage(Stage):
    """Writes every frame it gets; in every-frame mode only as far as the window allows."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self._live = self.config.resolved_mode == "live"
        self._to_detect: LinkSender[FrameDescriptor] = station.sender("frames-detect", station.policy)
        self._to_publish: LinkSender[FrameDescriptor | EndOfStream] = station.sender("frames-publish", station.policy)
        self._ring: RingWriter | None = None
        self._epoch = self.assignment.epoch
        resume = self.assignment.resume_after
        self._next_seq = 0 if resume is None else resume + 1
        self._acknowledged = self._next_seq - 1
        self._announced: deque[FrameDescriptor] = deque(maxlen=DEFAULT_SLOTS)
        self._end: EndOfStream | None = None
        self._failure: StreamsegError | None = None

    def prepare(self) -> Ready:
        """Open the source."""
        settings = self.config.source
        if self.assignment.resume_after is not None and settings.live:
            settings = msgspec.structs.replace(settings, wait=True)  # a camera that was there once is waited for
        source = open_source(settings, self.assignment.threads)
        self._intake = Intake(
            source, self._next_seq, self.config.max_frames, live=settings.live, paced=self._live and not settings.live
        )
        self._intake.start(self.station.ring_bell)
        return Ready(source.info.description, source.info.frame_count)

    def instruct(self, message: ToStage) -> None:
        """Start, widen the window, or announce frames again."""
        match message:
            case Start(origin_ns, after_pts_ns):
                self._intake.release(origin_ns if self._live else None, after_pts_ns)
            case Acknowledged(seq):
                self._acknowledged = max(self._acknowledged, seq)
            case Resend(after):
                self._resend(after)

    def turn(self) -> bool:
        """Write and announce a frame, if there is one and the window is open."""
        self._to_detect.service()
        self._to_publish.service()
        if self._failure is not None and (self._live or self._acknowledged >= self._next_seq - 1):
            raise self._failure
        if not self._window_open():
            return False
        match self._intake.take():
            case None:
                return False
            case Frame() as frame:
                if not self._fits(frame):
                    return False
                self._write(frame)
            case SourceChange(state, detail):
                self.station.report(SourceChanged(state, detail))
            case StreamsegError() as error:
                self._failure = error  # raised when the frames before it have been published
            case reason:
                self._end = EndOfStream(seq=self._next_seq - 1 if self._next_seq else None, reason=reason)
                self._to_publish.send(self._end)
        self.station.ring_bell()  # there may be more
        return True

    def close(self, reason: str) -> None:
        """Stop reading."""
        self._intake.stop()

    def _window_open(self) -> bool:
        return self._live or self._next_seq - self._acknowledged < DEFAULT_SLOTS

    def _fits(self, frame: Frame) -> bool:
        """Have a ring of the frame's size. A new ring forgets the old one's frames, so none may be under way where none may be lost."""
        size = frame.height * frame.width * 3
        if (
            self._ring is not None
            and self._announced[-1].width == frame.width
            and self._announced[-1].height == frame.height
        ):
            return True
        if self._ring is not None and not self._live and self._acknowledged < self._next_seq - 1:
            self._intake.put_back(frame)
            return False
        if self._ring is not None:
            self._ring.close()
            self._epoch += 1
        if size == 0:
            raise StageError("the source gave an empty frame")
        self._ring = RingWriter(self.assignment.instance, self._epoch, frame.height, frame.width)
        self._announced.clear()
        self.station.report(RingCreated(self._ring.ring))
        return True

    def _write(self, frame: Frame) -> None:
        assert self._ring is not None
        self._ring.write(self._next_seq, frame.image)
        descriptor = FrameDescriptor(
            seq=self._next_seq,
            ring=self._ring.ring,
            width=frame.width,
            height=frame.height,
            pts_ns=frame.pts_ns,
            t_capture_ns=frame.t_capture_ns,
            t_capture_unix_ns=frame.t_capture_unix_ns,
            detect_replaced=self._to_detect.replaced,
            publish_replaced=self._to_publish.replaced,
        )
        self._next_seq += 1
        self._announced.append(descriptor)
        self._to_publish.send(descriptor)
        self._to_detect.send(descriptor)

    def _resend(self, after: int) -> None:
        for descriptor in self._announced:
            if not self._live and descriptor.seq > after:
                self._to_publish.send(descriptor)
                self._to_detect.send(descriptor)
        if self._end is not None:
            self._to_publish.send(self._end)


def open_source(settings: SourceSettings, threads: int) -> Source:
    """Open the source that the settings name; `threads` decode a file.

    Raises:
        SourceError: It could not be opened.
        SettingsError: The password file cannot be read.
    """
    options = SourceOptions(
        url=settings.address,
        width=settings.width,
        height=settings.height,
        fps=settings.fps,
        rotate=settings.rotate,
        mirror=settings.mirror,
        transport=settings.transport,
        timeout=settings.timeout,
        start_timeout=settings.start_timeout,
        wait=settings.wait,
        username=settings.username,
        password=_read_password(settings.password_file),
        threads=threads,
    )
    match settings.kind:
        case "file":
            from streamseg.sources.file import FileSource

            return FileSource(options)
        case "rtsp":
            from streamseg.sources.rtsp import RtspSource

            return RtspSource(options)
        case "webcam":
            from streamseg.sources.webcam import WebcamSource

            return WebcamSource(options)
        case "synthetic":
            from streamseg.sources.synthetic import SyntheticSource

            return SyntheticSource(options)


def _read_password(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()[0]
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise SettingsError(
            f"sources.0.password_file: {path} holds no readable first line; write the password there"
        ) from error
