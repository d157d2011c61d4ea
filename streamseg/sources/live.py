"""What every live source shares: it may go away, and it comes back."""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

from streamseg.errors import SourceError, SourceRefusedError
from streamseg.messages import Frame
from streamseg.sources import SourceChange, SourceInfo, SourceOptions
from streamseg.sources.connection import Connection, Opened, Picture, Started, start
from streamseg.sources.conversion import BgrConverter, Orientation
from streamseg.sources.timeline import LiveTimeline, timestamp_ns

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
HEALTHY_S = 60.0
"""A connection that lasted this long makes the next retry quick again."""


class Backoff:
    """How long to wait before each attempt: doubling, capped, and spread so that many clients do not return at once."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._attempts = 0

    def seconds(self) -> float:
        """The next wait; each call counts as an attempt."""
        wait = min(FIRST_RETRY_S * 2.0 ** min(self._attempts, 10), LONGEST_RETRY_S)
        self._attempts += 1
        return wait * self._chance.uniform(0.8, 1.0)

    def lasted(self, seconds: float) -> None:
        """A connection held for so long; after a healthy one the waits begin anew."""
        if seconds >= HEALTHY_S:
            self._attempts = 0


class LiveSource(ABC):
    """A stream that may be lost and is then opened again, for ever.

    Unless the options say `wait`, the constructor opens the stream and decodes its first picture within `start_timeout`, or raises
    `SourceError`. With `wait` the constructor opens nothing, and `frames` tries until the source is there.

    `info` is renewed with each connection.
    """

    def __init__(self, options: SourceOptions, description: str) -> None:
        self.info = SourceInfo(description=description)
        self._name = description
        self._options = options
        self._converter = BgrConverter(Orientation(options.rotate, options.mirror))
        self._timeline = LiveTimeline()
        self._backoff = Backoff(random.Random())
        self._connection: Connection | None = None
        self._started: Started | None = None
        if not options.wait:
            self._started = self._start(threading.Event())

    @abstractmethod
    def connect(self) -> Opened:
        """Open the stream, in whatever thread; may block for `start_timeout`.

        Raises:
            SourceError: It cannot be opened now.
            SourceRefusedError: Access was denied, so that trying again is of no use.
        """

    def frames(self, start: int, stop: threading.Event) -> Iterator[Frame | SourceChange]:
        """Yield frames as they come, and the change when they cease or come again; `start` has no meaning here."""
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
                self._backoff.lasted(time.monotonic() - started.connection.began)
                self.close()
            if stop.is_set():
                return
            if not announced:
                announced = True
                yield SourceChange("disconnected", lost)
            stop.wait(self._backoff.seconds())

    def close(self) -> None:
        """Free the camera. `frames` of a source that was closed opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._started = None

    def _start(self, stop: threading.Event) -> Started:
        started = start(self.connect, self._options, stop, self._name)
        self._connection = started.connection
        self._timeline.reconnected()
        self.info = started.connection.info
        return started

    def _watch(self, started: Started, stop: threading.Event) -> Iterator[Frame]:
        yield self._frame(started.first)
        for picture in started.connection.turns:
            if stop.is_set():
                return
            if picture is not None:
                yield self._frame(picture)

    def _frame(self, picture: Picture) -> Frame:
        pts_ns = self._timeline.at(timestamp_ns(picture.picture), picture.clock_ns)
        return Frame(self._converter.image(picture.picture), pts_ns, picture.clock_ns, picture.unix_ns)
