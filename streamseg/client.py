"""Receives the results of a running pipeline in another process.

Importing this module loads neither torch nor PyAV nor OpenCV nor supervision.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streamseg import messages
from streamseg.errors import (
    LaterMessageError,
    MessageError,
    SubscriptionRefusedError,
    SubscriptionTimeoutError,
    UsageError,
)
from streamseg.messages import End, Event, SourceState
from streamseg.monitor.stream import RecentResults
from streamseg.result import Result
from streamseg.subscription import Deadline, Subscription
from streamseg.wire.backlog import Backlog
from streamseg.wire.curve import read_client_key_pair
from streamseg.wire.limits import SOURCES
from streamseg.wire.protocol import (
    PREFIX,
    STATE,
    ResultView,
    check_parts,
    decode,
    topic,
    used_parts,
    validate_source_name,
    validate_view,
)
from streamseg.wire.runs import Runs

_log = logging.getLogger(__name__)

_REFILL_MS: Final = 2
_NEWER_S: Final = 0.5
"""Time in which newer results arrive when the program was away for long and finds old ones only."""
_FALL_S: Final = 0.1
"""By how much their delay falls in that time while full buffers are drained."""
_MOST_TAKEN: Final = 4096
_KEPT_RESULTS: Final = 8
_SILENT_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSource:
    """A source that a pipeline publishes, as a subscriber knows it.

    Attributes:
        state: `starting`, `running`, `disconnected` or `restarting`.
        detail: One line on that for people; may be empty.
        size: Width and height of the newest frame in pixels; None before the first result.
        rate: Results a second within the last ten seconds; None before the first.
    """

    name: str
    state: str
    detail: str
    size: tuple[int, int] | None
    rate: float | None


class Subscriber:
    """Receives the results of a running pipeline, from this machine or another.

        with Subscriber("tcp://127.0.0.1:5555") as subscriber:
            for result in subscriber:
                print(result.seq, [item.detection.class_name for item in result.objects])

    Iteration yields results in order and stops at the end of the run; iterating again waits for the next run.
    `async for` does the same. A loop slower than the camera misses results, which `Result.gap` counts, and stays within
    `max_lag` of the newest one; `latest()` always returns the newest result. Of a file, results are missed only when
    `queue` and the buffers of both machines are full.

    A subscriber belongs to one thread. It may connect before the pipeline starts, and reconnects when it restarts. A
    publisher that sends a part or a message larger than the format allows is disconnected for good.

    Every method that waits raises `SubscriptionTimeoutError` if nothing arrives in time, and `SubscriptionRefusedError`
    if the publisher refuses the subscriber's key.

    Args:
        endpoint: ZeroMQ address of the publisher.
        source: Name of the source; None for every source of the endpoint, at most 256.
        sources: Names of several sources, in place of one.
        view: `masks` without a picture; `clean` or `overlay` with the plain or the rendered one, as `Result.jpeg` and
            `Result.image`.
        timeout: Seconds to wait for each message; None waits for ever. While the pipeline runs, a message arrives every
            second even when its camera is away, so iteration with 3 s or more survives a camera that restarts.
        max_lag: Seconds by which a result of a live source may be older than the newest one when the program gets it;
            older ones are missed. None keeps what fits into `queue`.
        queue: Results kept while the program is busy.
        secret_key_file: File with this subscriber's secret key, for a publisher that admits certain keys only.
        server_key_file: File with that publisher's public key. No other publisher is accepted.

    Attributes:
        rejected: Number of messages that broke the wire format. They are dropped; the first one is logged.

    Raises:
        UsageError: The endpoint, the source name, the view or a key file is invalid.
    """

    def __init__(
        self,
        endpoint: str = "tcp://127.0.0.1:5555",
        *,
        source: str | None = None,
        sources: Sequence[str] | None = None,
        view: ResultView = "masks",
        timeout: float | None = None,
        max_lag: float | None = 1.0,
        queue: int = 64,
        secret_key_file: str | Path | None = None,
        server_key_file: str | Path | None = None,
    ) -> None:
        if validate_view(view) == STATE:
            raise UsageError("view 'state' comes with every other view: subscribe to masks, clean or overlay")
        self.endpoint = endpoint
        self.rejected = 0
        self._keys = read_client_key_pair(secret_key_file, server_key_file)
        self._view = view
        self._timeout = timeout
        self._queue = queue
        self._backlog = Backlog(max_lag, queue)
        names = _names(source, sources)
        self._discovered: set[str] | None = set() if names is None else None
        self._runs = Runs()
        self._received_s = -math.inf
        self._pending_end: End | None = None
        self._newest: dict[bytes, deque[list[bytes]]] = {}
        """Results by topic that `latest` has not returned yet."""
        self._recent: dict[str, RecentResults] = {}
        topics = [PREFIX] if names is None else [topic(name, each) for name in names for each in (view, STATE)]
        self._subscription = Subscription(endpoint, topics, queue, self._keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect. Closing twice does nothing."""
        self._subscription.close()

    @property
    def lag_ms(self) -> float:
        """Milliseconds that the newest result of the program had waited in queues, more than the fastest of its run."""
        return self._backlog.lag_s * 1000

    @property
    def states(self) -> dict[str, SourceState]:
        """The state of each source as received so far: `starting`, `running`, `disconnected` or `restarting`.

        Empty before the first message, and after three seconds without one: then the pipeline or the connection to it
        is down.
        """
        return self._runs.states if time.monotonic() - self._received_s < _SILENT_S else {}

    def sources(self) -> list[PublishedSource]:
        """The sources that are published, as far as messages of them have arrived; none while the pipeline is down."""
        now_s = time.monotonic()
        listed = []
        for name, state in sorted(self.states.items()):
            figures = self._recent[name].figures(now_s) if name in self._recent else None
            listed.append(
                PublishedSource(
                    name=name,
                    state=state.state,
                    detail=state.detail,
                    size=None if figures is None else (figures.newest.width, figures.newest.height),
                    rate=None if figures is None else figures.rate,
                )
            )
        return listed

    def __iter__(self) -> Iterator[Result]:
        """Yield every result in order until the run ends."""
        while True:
            message = self._next(Deadline(self._timeout))
            if isinstance(message, Result):
                yield message
            elif self._is_last(message):
                return

    async def __aiter__(self) -> AsyncIterator[Result]:
        """Yield the same as iteration does, without blocking the event loop."""
        while True:
            message = await self._next_async(Deadline(self._timeout))
            if isinstance(message, Result):
                yield message
            elif self._is_last(message):
                return

    def messages(self) -> Iterator[Result | Event]:
        """Yield every message in order, also state, heartbeat and end, until the run ends."""
        while True:
            message = self.receive()
            yield message
            if self._is_last(message):
                return

    def receive(self, timeout: float | None = None) -> Result | Event:
        """Return the next message of any kind.

        Args:
            timeout: Seconds to wait; None takes the subscriber's own time-out.
        """
        return self._next(Deadline(self._timeout if timeout is None else timeout))

    def latest(self, timeout: float | None = None) -> Result | None:
        """Return the newest result received, or wait for the next one; None when the run has ended.

        Older results are skipped without being decoded and count in `Result.gap`. Other messages are skipped too. Of
        several sources, each call returns the newest result of another one that has sent any.

        Args:
            timeout: Seconds to wait; None takes the subscriber's own time-out.
        """
        deadline = Deadline(self._timeout if timeout is None else timeout)
        catch_up = _CatchUp(deadline)
        while (result := self._take_latest(catch_up)) is None and self._pending_end is None:
            self._wait(deadline, catch_up)
        if result is None:
            self._pending_end = None
        return result

    def _is_last(self, message: Result | Event) -> bool:
        return isinstance(message, End) and not message.others_follow and not self._runs.active

    def _next(self, deadline: Deadline) -> Result | Event:
        catch_up = _CatchUp(deadline)
        while (message := self._take(catch_up)) is None:
            self._wait(deadline, catch_up)
        return message

    async def _next_async(self, deadline: Deadline) -> Result | Event:
        catch_up = _CatchUp(deadline)
        while (message := self._take(catch_up)) is None:
            await self._subscription.wait_async(catch_up.deadline if self._backlog else deadline)
            self._check_arrived(deadline)
        return message

    def _wait(self, deadline: Deadline, catch_up: _CatchUp) -> None:
        self._subscription.wait(catch_up.deadline if self._backlog else deadline)
        self._check_arrived(deadline)

    def _check_arrived(self, deadline: Deadline) -> None:
        if self._backlog or self._subscription.arrived():
            return
        if self._subscription.refused:
            raise SubscriptionRefusedError(
                f"{self.endpoint} accepts no subscriber without a key; give secret_key_file and server_key_file"
                if self._keys is None
                else f"{self.endpoint} refused this key; allow it there (publish.curve.allow), or leave it out"
            )
        if self._runs.active:
            cause = "the pipeline runs, its source may be disconnected"
        elif self._keys is None:
            cause = "is the pipeline running, and does it need a key?"
        else:
            cause = "is the pipeline running, with that key?"
        raise SubscriptionTimeoutError(f"nothing came from {self.endpoint} within {deadline.seconds:g} s; {cause}")

    def _take(self, catch_up: _CatchUp) -> Result | Event | None:
        """The next message; None if there is none, or if only old results are there and a newer one may come."""
        end, self._pending_end = self._pending_end, None
        if end is not None:
            return end
        self._fill()
        if self._is_late(catch_up):
            return None
        while (parts := self._backlog.take(time.monotonic())) is not None:
            if (message := self._accept(parts)) is not None:
                return message
        return None

    def _take_latest(self, catch_up: _CatchUp) -> Result | None:
        """The newest result of a source up to the end of a run, which becomes pending."""
        self._fill(everything=True)
        if self._is_late(catch_up):
            return None
        while self._pending_end is None and (parts := self._backlog.take(time.monotonic())) is not None:
            if parts[0].endswith(b"/" + self._view.encode()):
                self._newest.setdefault(parts[0], deque(maxlen=_KEPT_RESULTS)).append(parts)
            elif isinstance(end := self._accept(parts), End) and self._is_last(end):
                self._pending_end = end
        for name in list(self._newest):
            for parts in reversed(self._newest.pop(name)):
                message = self._accept(parts)
                if isinstance(message, Result):
                    return message
        return None

    def _is_late(self, catch_up: _CatchUp) -> bool:
        """Whether only old results are there and a newer one may come."""
        if not self._backlog.late:
            return False
        catch_up.update(self._backlog.lateness_s)
        if catch_up.stalled:
            self._backlog.settle()
            return False
        return not catch_up.expired

    def _fill(self, *, everything: bool = False) -> None:
        """Receive what has arrived, or of a file one message."""
        for taken in range(_MOST_TAKEN):
            # A full queue refills from the kernel's buffers while it is drained.
            refill_ms = _REFILL_MS if taken >= self._queue else 0
            if not (everything or self._backlog.grows) or not self._subscription.arrived(refill_ms):
                return
            parts = self._subscription.receive()
            try:
                source, view = check_parts(parts)
                self._discover(source)
            except MessageError as error:
                self._reject(error)
                continue
            if view in (self._view, STATE):
                self._backlog.add(parts[: used_parts(view)], source, time.monotonic(), is_result=view != STATE)

    def _accept(self, parts: list[bytes]) -> Result | Event | None:
        """Decode a message; None if it is malformed or repeated."""
        try:
            decoded = decode(parts)
            self._discover(decoded.source)  # its end may have come since the message arrived
            message = self._runs.follow(decoded)
            self._received_s = time.monotonic()
        except MessageError as error:
            self._reject(error)
            return None
        if isinstance(message, End):
            self._forget(message.source)
        if not isinstance(message, messages.ResultMessage):
            return message
        self._recent.setdefault(message.source, RecentResults()).add(message, self._received_s)
        return Result.of(message, self._view)

    def _forget(self, source: str) -> None:
        """Make room for other sources: a pipeline may replace its sources again and again."""
        self._recent.pop(source, None)
        if self._discovered is not None and source in self._discovered:
            self._discovered.remove(source)
            self._subscription.remove(topic(source, self._view))

    def _reject(self, error: MessageError) -> None:
        if isinstance(error, LaterMessageError):
            return
        self.rejected += 1
        if self.rejected == 1:
            _log.warning("a message from %s was dropped: %s", self.endpoint, error)

    def _discover(self, source: str) -> None:
        # The publisher makes pictures only for a subscription to their whole topic, which contains the source name.
        if self._discovered is not None and source not in self._discovered:
            if len(self._discovered) == SOURCES:
                raise MessageError(f"{source} is one source more than the {SOURCES} that a subscriber follows; name it")
            self._discovered.add(source)
            self._subscription.add(topic(source, self._view))


def _names(source: str | None, sources: Sequence[str] | None) -> list[str] | None:
    """The sources to subscribe to; None for all."""
    if (source is not None and sources is not None) or isinstance(sources, str):
        raise UsageError("source and sources: give one name as `source`, or a list of names as `sources`")
    names = sources if source is None else [source]
    if names is not None and not names:
        raise UsageError("sources: the list is empty; name a source, or leave it out for all")
    return None if names is None else [validate_source_name(name) for name in names]


class _CatchUp:
    """The wait for newer results while only old ones are there. It lasts as long as their delay falls.

    Full buffers keep the oldest results, and draining them takes seconds if the buffers are small or the link is slow.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._newer: Deadline | None = None
        self._lateness_s = math.inf
        self._falls = False

    @property
    def deadline(self) -> Deadline:
        """When to look again although nothing has arrived."""
        return self._newer or self._deadline

    @property
    def stalled(self) -> bool:
        """Whether the delay falls no more."""
        return self._newer is not None and self._newer.milliseconds() == 0

    @property
    def expired(self) -> bool:
        """Whether the delay still falls, but the program waits no longer."""
        return self._falls and self._deadline.milliseconds() == 0

    def update(self, lateness_s: float) -> None:
        """Note by how much the newest result is late."""
        if self._newer is None or self._lateness_s - lateness_s >= _FALL_S:
            self._falls = self._newer is not None
            self._newer, self._lateness_s = Deadline(_NEWER_S), lateness_s
