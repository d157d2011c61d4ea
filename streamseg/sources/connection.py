"""One connection to a camera: opening it within a time, reading it, and noticing that pictures stop."""

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
from streamseg.sources import SourceInfo, SourceOptions

PATIENCE_INTERVALS = 5
"""A stream is lost after so many of its usual intervals without a picture (but not before the time-out)."""
READ_POLL_S = 0.002
STOP_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Opened:
    """A container that a camera answered with, and what it is. `streams.video` has exactly the stream to show."""

    container: InputContainer
    info: SourceInfo


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture and when that was, on the monotonic and on the wall clock."""

    picture: av.VideoFrame
    clock_ns: int
    unix_ns: int


class Connection:
    """One opened live stream, until it is lost.

    Attributes:
        info: What the stream says of itself.
        turns: A picture, or None where a read gave none, so that the reader can stop. Ends when the stream is lost.
        lost: Why `turns` ended.
    """

    def __init__(self, opened: Opened, options: SourceOptions) -> None:
        self.info = opened.info
        self.lost = ""
        self.began = time.monotonic()
        self._container = opened.container
        self._timeout = options.timeout
        self._patience = options.start_timeout
        self._interval: float | None = None
        self._last: float | None = None
        self.turns: Iterator[Picture | None] = self._read(opened.container.streams.video[0])

    def close(self) -> None:
        """Let the camera go."""
        self._container.close()

    def _read(self, stream: VideoStream) -> Iterator[Picture | None]:
        # Threads that decode a picture each would hold back as many pictures; with threads that decode a slice each, FFmpeg neither
        # conceals nor marks what was lost on the way.
        stream.thread_type = "NONE"
        packets = self._container.demux(stream)
        alive = self.began
        while True:
            began = time.monotonic()
            decoded: list[av.VideoFrame] = []
            try:
                packet = next(packets)
                decoded = _decode(packet)
                # At the stream's end comes an empty packet, which drains the decoder.
                self.lost = "" if packet.size else "the stream ended"
            except (av.error.ExitError, av.error.TimeoutError):
                packets = self._container.demux(stream)
            except av.error.InvalidDataError:
                packets = self._container.demux(stream)
                time.sleep(READ_POLL_S)
            except av.FFmpegError as error:
                self.lost = f"reading failed ({error.strerror})"
                return
            now = time.monotonic()
            # Only decoded pictures count as a sign of life: a damaged stream may deliver packets for seconds without one.
            if decoded:
                # A read that ran into the time-out hands out what the parser held back: a picture from before its beginning.
                alive = began if now - began >= self._timeout else now
                self._measure(alive)
                for picture in decoded:
                    yield Picture(picture, time.monotonic_ns(), time.time_ns())
            else:
                yield None
            alive += time.monotonic() - now
            if self.lost:
                return
            if time.monotonic() - alive >= self._patience:
                self.lost = f"no picture for {self._patience:.1f} s"
                return

    def _measure(self, alive: float) -> None:
        """Learn the stream's usual interval; until it is known, the patience is that for a first picture."""
        if self._last is not None:
            interval = alive - self._last
            self._interval = interval if self._interval is None else 0.8 * self._interval + 0.2 * interval
            declared = 1.0 / self.info.fps if self.info.fps else 0.0
            self._patience = max(self._timeout, PATIENCE_INTERVALS * max(self._interval, declared))
        self._last = alive


def _decode(packet: av.Packet[VideoStream]) -> list[av.VideoFrame]:
    try:
        return packet.decode()
    except (av.error.InvalidDataError, av.error.PatchWelcomeError):
        return []


@dataclass(frozen=True, slots=True, eq=False)
class Started:
    """A connection that works: its first picture has been decoded."""

    connection: Connection
    first: Picture


def start(connect: Callable[[], Opened], options: SourceOptions, stop: threading.Event, name: str) -> Started:
    """Open a stream and decode its first picture, within `start_timeout`.

    That happens in a thread, because neither the resolving of a name nor a device's answer can be interrupted; a thread that took too long
    frees what it opened when it is done.

    Raises:
        SourceError: It cannot be opened, no picture came in time, or `stop` was set.
    """
    opening: concurrent.futures.Future[Started] = concurrent.futures.Future()
    threading.Thread(target=_fulfil, args=(opening, connect, options), name="source-opening", daemon=True).start()
    deadline = time.monotonic() + options.start_timeout
    while not stop.is_set() and time.monotonic() < deadline:
        try:
            return opening.result(STOP_POLL_S)
        except concurrent.futures.TimeoutError:
            continue
    opening.add_done_callback(_discard)
    raise SourceError(
        f"{name} gave no picture within {options.start_timeout:g} s; check the address, and that the camera is on and free"
    )


def _fulfil(opening: concurrent.futures.Future[Started], connect: Callable[[], Opened], options: SourceOptions) -> None:
    try:
        opening.set_result(_first_picture(Connection(connect(), options)))
    except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
        opening.set_exception(error)


def _first_picture(connection: Connection) -> Started:
    for picture in connection.turns:
        if picture is not None:
            return Started(connection, picture)
    connection.close()
    raise SourceError(f"{connection.info.description} gave no picture: {connection.lost}")


def _discard(opening: concurrent.futures.Future[Started]) -> None:
    if opening.exception() is None:
        opening.result().connection.close()
