"""Base of the live sources, which may disconnect and reconnect."""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from streamseg.errors import SourceError, SourceRefusedError
from streamseg.messages import Frame
from streamseg.orientation import Orientation
from streamseg.sources import SourceChange, SourceInfo, SourceSettings
from streamseg.sources.connection import Connection, DecodedPicture, Opened, Started, start
from streamseg.sources.conversion import BgrConverter
from streamseg.sources.pacer import Pacer
from streamseg.sources.timeline import LiveTimeline, timestamp_ns

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
HEALTHY_S = 10.0
"""After a connection this long, the next retry is quick again, so that a camera that reboots often is soon back."""


class Backoff:
    """Waits between attempts: doubled up to a limit, and random, so that many clients do not return at once."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._attempts = 0

    def seconds(self) -> float:
        """Seconds before the next attempt; each call counts as one."""
        wait = min(FIRST_RETRY_S * 2.0 ** min(self._attempts, 10), LONGEST_RETRY_S)
        self._attempts += 1
        return wait * self._chance.uniform(0.8, 1.0)

    def lasted(self, seconds: float) -> None:
        """Note how long a connection lasted; a healthy one resets the waits."""
        if seconds >= HEALTHY_S:
            self._attempts = 0


class LiveSource(ABC):
    """A stream that is reopened whenever it is lost.

    The constructor opens the stream and decodes its first picture within `start_timeout`, or raises `SourceError`. With
    `wait` the constructor opens nothing, and `frames` retries until the source is available.

    Attributes:
        info: Properties of the current connection.
    """

    def __init__(self, settings: SourceSettings, description: str) -> None:
        self.info = SourceInfo(description=description)
        self._name = description
        self._settings = settings
        self._converter = BgrConverter(Orientation.from_rotation(settings.rotate, mirror=settings.mirror))
        self._timeline = LiveTimeline()
        self._backoff = Backoff(random.Random())
        self._connection: Connection | None = None
        self._started: Started | None = None
        if not settings.wait:
            self._started = self._start(threading.Event())

    @abstractmethod
    def connect(self) -> Opened:
        """Open the stream, in any thread; may block for `start_timeout`.

        Raises:
            SourceError: The stream cannot be opened now.
            SourceRefusedError: Access is denied; retrying is useless.
        """

    def is_finished(self) -> bool:
        """Whether a stream that has ended will not come back."""
        return False

    def frames(self, start: int, stop: threading.Event) -> Iterator[Frame | SourceChange]:
        """Yield frames as they arrive and each loss and return of the connection; `start` is ignored."""
        announced = False
        while not stop.is_set():
            try:
                started = self._started or self._start(stop)
            except SourceRefusedError:
                raise
            except SourceError as error:
                lost = str(error)
            else:
                if announced:
                    announced = False
                    yield SourceChange("running", self.info.description)
                self._started = None
                yield from self._watch(started, stop)
                lost = started.connection.lost
                if not stop.is_set() and self.is_finished():
                    self.close()
                    return
                self._backoff.lasted(time.monotonic() - started.connection.start)
                self.close()
            if stop.is_set():
                return
            if not announced:
                announced = True
                yield SourceChange("disconnected", lost)
            stop.wait(self._backoff.seconds())

    def close(self) -> None:
        """Close the connection; `frames` opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._started = None

    def _start(self, stop: threading.Event) -> Started:
        started = start(self.connect, self._settings, stop, self._name)
        self._connection = started.connection
        self._timeline.reconnected()
        first = started.first.picture
        self.info = replace(started.connection.info, size=(first.width, first.height))
        return started

    def _watch(self, started: Started, stop: threading.Event) -> Iterator[Frame]:
        opened = started.connection.opened
        pacer = Pacer(stop) if opened.paced else None
        for picture in chain((started.first,), started.connection.reads):
            due = pacer.wait(picture) if pacer is not None and picture is not None else picture
            if stop.is_set():
                return
            if due is not None:
                yield self._frame(due, timestamp_ns(due.picture) if opened.stamped else None)

    def _frame(self, picture: DecodedPicture, stamp: int | None) -> Frame:
        pts_ns = self._timeline.at(stamp, picture.clock_ns)
        image, aspect = self._converter.upright(picture.picture, self.info.pixel_aspect)
        return Frame(image, pts_ns, picture.clock_ns, picture.unix_ns, aspect)
