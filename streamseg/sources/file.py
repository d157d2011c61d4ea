"""A video file as a source."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Protocol, cast

import av
from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition
from av.video.stream import VideoStream

from streamseg.errors import SourceError
from streamseg.messages import Frame
from streamseg.orientation import Orientation
from streamseg.paths import local_path
from streamseg.sources import SourceDamage, SourceInfo, SourceSettings
from streamseg.sources.conversion import BgrConverter, pixel_aspect
from streamseg.sources.damage import DamageMeter
from streamseg.sources.timeline import FileTimeline, interval_ns, timed, timestamp_ns

UNREADABLE_LIMIT = 100
"""Failed reads in a row after which the rest of a file counts as lost."""
_TEXT_FORMATS = frozenset({"tty", "bin", "xbin", "adf", "idf"})
"""FFmpeg's formats that turn any text file into a picture."""


def refuse_text(container: InputContainer, shown: str) -> InputContainer:
    """The container, unless FFmpeg takes a text for a video.

    Raises:
        SourceError: It does; the container is closed.
    """
    if container.format.name in _TEXT_FORMATS:
        container.close()
        raise SourceError(f"{shown} is text, not a video; give a video file such as MP4 or MKV")
    return container


class VideoFile(Protocol):
    """What `FileSource` reads.

    Attributes:
        name: For messages.
    """

    name: str

    def open(self) -> InputContainer:
        """Open it from its beginning.

        Raises:
            SourceError: It cannot be opened.
        """
        ...

    def explain(self, error: av.FFmpegError) -> SourceError:
        """The error of a read that failed."""
        ...


class LocalFile:
    """A file of this machine."""

    def __init__(self, settings: SourceSettings) -> None:
        self._path = local_path(settings.address, "the path of a video file")
        self.name = str(self._path)

    def open(self) -> InputContainer:
        """Open it, without the network."""
        if not self._path.exists():
            raise SourceError(f"{self._path}: no such file; give the path of a video file")
        if not self._path.is_file():
            raise SourceError(f"{self._path} is not a file; give the path of a video file")
        try:
            # FFmpeg reads a relative path with a colon as a protocol. The whitelist keeps playlists off the network.
            container = av.open(
                str(self._path.resolve()),
                options={"protocol_whitelist": "file,crypto,data"},
                metadata_errors="replace",  # tags of old cameras are in national encodings
            )
        except av.FFmpegError as error:
            raise SourceError(
                f"{self._path} cannot be opened as a video: {error.strerror}; give a video file such as MP4 or MKV"
            ) from error
        return refuse_text(container, self.name)

    def explain(self, error: av.FFmpegError) -> SourceError:
        """The error of a read that failed."""
        return SourceError(f"{self.name} cannot be read further: {error.strerror}")


class FileSource:
    """Every frame of a video file, in order.

    The constructor decodes the first frame, so that a file that cannot be played fails there.

    Args:
        settings: Of the source.
        threads: Decoding threads; None leaves the number to FFmpeg.
        file: What to open; None is the path that the settings name.
    """

    def __init__(self, settings: SourceSettings, threads: int | None = None, file: VideoFile | None = None) -> None:
        self._file = LocalFile(settings) if file is None else file
        self._threads = threads
        self._converter = BgrConverter(Orientation.from_rotation(settings.rotate, mirror=settings.mirror))
        with self._file.open() as container:
            stream = self._video(container)
            rate = stream.average_rate or stream.guessed_rate
            first = next(self._decode(container, stream, DamageMeter(container, stream)), None)
            if first is None:
                raise SourceError(f"{self._file.name} has no frame that can be decoded; is the file complete?")
            self.info = SourceInfo(
                description=self._file.name,
                fps=float(rate) if rate else None,
                frame_count=stream.frames or None,
                size=(first.width, first.height),
                codec=stream.codec_context.name,
                pixel_aspect=pixel_aspect(stream),
                sound=bool(container.streams.audio),
            )

    def frames(self, start: int, stop: threading.Event) -> Iterator[Frame | SourceDamage]:
        """Yield the frames from number `start` on; packets that cannot be decoded are skipped and counted."""
        with self._file.open() as container:
            restarts = bool(container.format.flags & Flags.ts_discont.value)  # type: ignore[operator]
            timeline = FileTimeline(interval_ns(self.info.fps), restarts=restarts)
            stream = self._video(container)
            meter = DamageMeter(container, stream)
            pictures = timed(self._decode(container, stream, meter), timestamp_ns, timeline)
            for number, (picture, pts_ns) in enumerate(pictures):
                if stop.is_set():
                    return
                meter.add_picture(picture, pts_ns)
                if number >= start:
                    image, aspect = self._converter.upright(picture, self.info.pixel_aspect)
                    yield Frame(image, pts_ns, time.monotonic_ns(), time.time_ns(), aspect)

            damage = meter.damage()
            if damage is not None:
                yield damage

    def close(self) -> None:
        """Nothing to release: `frames` closes the file."""

    def _video(self, container: InputContainer) -> VideoStream:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
            raise SourceError(f"{self._file.name} holds no video; give a video file such as MP4 or MKV")
        if stream.codec_context is None:
            raise SourceError(
                f"{self._file.name} has a video in an unknown codec; convert it, for example to H.264 in MP4"
            )
        stream.thread_type = "AUTO"
        if self._threads is not None:
            stream.codec_context.thread_count = self._threads
        return stream

    def _decode(self, container: InputContainer, stream: VideoStream, meter: DamageMeter) -> Iterator[av.VideoFrame]:
        for packet in self._packets(container, stream, meter):
            try:
                pictures = packet.decode()
            except (av.error.InvalidDataError, av.error.PatchWelcomeError):
                meter.add_failure()
                continue
            except av.FFmpegError as error:
                raise SourceError(f"{self._file.name} cannot be decoded further: {error.strerror}") from error
            yield from pictures

    def _packets(
        self, container: InputContainer, stream: VideoStream, meter: DamageMeter
    ) -> Iterator[av.Packet[VideoStream]]:
        unreadable = 0
        while unreadable < UNREADABLE_LIMIT:
            try:
                for packet in container.demux(stream, *meter.others):
                    unreadable = 0
                    meter.add_packet(packet)
                    if packet.stream.index == stream.index:
                        yield cast("av.Packet[VideoStream]", packet)
                return
            except av.error.InvalidDataError:
                unreadable += 1
                meter.add_failure()
            except av.FFmpegError as error:
                raise self._file.explain(error) from error
        raise SourceError(
            f"{self._file.name} is damaged: {UNREADABLE_LIMIT} reads in a row failed; repair or re-encode it"
        )
