"""One connection to a camera: opens it within a time limit, reads it, and detects that no pictures arrive."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from streamseg.errors import SourceError
from streamseg.sources import SourceInfo, SourceSettings
from streamseg.sources.patience import Patience

READ_POLL_S = 0.002
STOP_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Opened:
    """An open container; the first video stream is the one to read.

    Attributes:
        paced: Whether its pictures arrive in bursts and are due at the times of their timestamps.
        stamped: Whether its timestamps come from a clock.
    """

    container: InputContainer
    info: SourceInfo
    paced: bool = False
    stamped: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPicture:
    """A picture and the time of its decoding, on the monotonic and on the wall clock."""

    picture: av.VideoFrame
    clock_ns: int
    unix_ns: int


class Connection:
    """One opened live stream, until it is lost.

    Attributes:
        info: Properties of the stream.
        opened: What it was made of.
        reads: A picture, or None after a read without one, so that the caller can stop. Ends when the stream is lost.
        lost: Why `reads` ended.
    """

    def __init__(self, opened: Opened, settings: SourceSettings) -> None:
        self.info = opened.info
        self.opened = opened
        self.lost = ""
        self.start = time.monotonic()
        self._container = opened.container
        self._timeout = settings.timeout
        self._patience = Patience(settings.start_timeout, settings.timeout, self.start, opened.info.fps)
        self.reads: Iterator[DecodedPicture | None] = self._read(opened.container.streams.video[0])

    def close(self) -> None:
        """Close the connection."""
        self._container.close()

    def _read(self, stream: VideoStream) -> Iterator[DecodedPicture | None]:
        # Frame threads delay as many pictures; with slice threads, FFmpeg neither conceals nor marks lost slices.
        stream.thread_type = "NONE"
        packets = self._container.demux(stream)
        while True:
            start = time.monotonic()
            decoded: list[av.VideoFrame] = []
            try:
                packet = next(packets)
                decoded = _decode(packet)
                # An empty packet at the end of the stream drains the decoder.
                self.lost = "" if packet.size else "the stream ended"
            except (av.error.ExitError, av.error.TimeoutError):
                if self.opened.paced:  # FFmpeg's reader of HLS lists reads nothing more once it was interrupted
                    self.lost = f"no picture for {self._timeout:.1f} s"
                    return
                packets = self._container.demux(stream)
            except av.error.InvalidDataError:
                packets = self._container.demux(stream)
                time.sleep(READ_POLL_S)
            except av.FFmpegError as error:
                self.lost = f"reading failed ({error.strerror})"
                return
            now = time.monotonic()
            # Only decoded pictures count: a damaged stream may deliver packets for seconds without one.
            if decoded:
                # A read that times out returns the picture that the parser still held, which is older than the read.
                self._patience.note_picture(start if now - start >= self._timeout else now)
                for picture in decoded:
                    yield DecodedPicture(picture, time.monotonic_ns(), time.time_ns())
            else:
                yield None
            self._patience.excuse(time.monotonic() - now)
            if self.lost:
                return
            if self._patience.is_over(time.monotonic()):
                self.lost = f"no picture for {self._patience.seconds:.1f} s"
                return


def _decode(packet: av.Packet[VideoStream]) -> list[av.VideoFrame]:
    try:
        return packet.decode()
    except (av.error.InvalidDataError, av.error.PatchWelcomeError):
        return []


@dataclass(frozen=True, slots=True, eq=False)
class Started:
    """A connection and its first picture."""

    connection: Connection
    first: DecodedPicture


def start(connect: Callable[[], Opened], settings: SourceSettings, stop: threading.Event, name: str) -> Started:
    """Open a stream and decode its first picture, within `start_timeout`.

    A thread does the work, because name look-up and devices cannot be interrupted. If it takes too long, it closes
    what it opened.

    Raises:
        SourceError: The stream cannot be opened, no picture arrived in time, or `stop` was set.
    """
    opening: concurrent.futures.Future[Started] = concurrent.futures.Future()
    threading.Thread(target=_run, args=(opening, connect, settings), name="source-opening", daemon=True).start()
    deadline = time.monotonic() + settings.start_timeout
    while not stop.is_set() and time.monotonic() < deadline:
        try:
            return opening.result(STOP_POLL_S)
        except concurrent.futures.TimeoutError:
            continue
    opening.add_done_callback(_discard)
    raise no_picture(name, settings)


def no_picture(name: str, settings: SourceSettings) -> SourceError:
    """The error of a source that is too slow, or away."""
    return SourceError(
        f"{name} gave no picture within {settings.start_timeout:g} s; check the address, and that the camera is on and "
        f"free; one with long pauses between pictures needs a longer {settings.key}.start_timeout"
    )


def _run(opening: concurrent.futures.Future[Started], connect: Callable[[], Opened], settings: SourceSettings) -> None:
    try:
        opening.set_result(_first_picture(Connection(connect(), settings)))
    except Exception as error:  # noqa: BLE001 - `start` raises it
        opening.set_exception(error)


def _first_picture(connection: Connection) -> Started:
    for picture in connection.reads:
        if picture is not None:
            return Started(connection, picture)
    connection.close()
    raise SourceError(f"{connection.info.description} gave no picture: {connection.lost}")


def _discard(opening: concurrent.futures.Future[Started]) -> None:
    if opening.exception() is None:
        opening.result().connection.close()
