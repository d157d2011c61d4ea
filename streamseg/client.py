"""Receives the results of a running pipeline in another process.

Importing this module loads neither torch nor PyAV nor OpenCV nor supervision.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import zmq

from streamseg import messages
from streamseg.errors import MessageError, SubscriptionRefusedError, SubscriptionTimeoutError, UsageError
from streamseg.messages import End, Event, SourceState
from streamseg.result import Result
from streamseg.wire.curve import ClientKeys, read_client_keys
from streamseg.wire.limits import PART_BYTES
from streamseg.wire.protocol import (
    PREFIX,
    STATE,
    ResultView,
    decode,
    read_topic,
    topic,
    validate_source_name,
    validate_view,
)
from streamseg.wire.runs import Runs

Message = Result | Event

_log = logging.getLogger(__name__)

_REFILL_MS: Final = 2
_SIGNALS_MS: Final = 200
_KEPT_RESULTS: Final = 8
_SILENT_S: Final = 3.0


class Subscriber:
    """Receives the results of a running pipeline, from this machine or another.

        with Subscriber("tcp://127.0.0.1:5555") as subscriber:
            for result in subscriber:
                print(result.seq, [item.detection.class_name for item in result.objects])

    Iteration yields every result in order and stops at the end of the run; iterating again waits for the next run.
    `async for` does the same. A loop slower than the camera falls behind by up to `queue` messages and then misses
    results, which `Result.gap` counts; `latest()` always returns the newest result.

    A subscriber belongs to one thread. It may connect before the pipeline starts, and reconnects when it restarts. A
    publisher that sends a part larger than the format allows is disconnected for good.

    Every method that waits raises `SubscriptionTimeoutError` if nothing arrives in time, and `SubscriptionRefusedError`
    if the publisher refuses the subscriber's key.

    Args:
        endpoint: ZeroMQ address of the publisher.
        source: Name of the source; None for every source of the endpoint.
        view: `masks` without a picture; `clean` or `overlay` with the plain or the rendered one, as `Result.jpeg` and
            `Result.image`.
        timeout: Seconds to wait for each message; None waits for ever. While the pipeline runs, a message arrives every
            second even when its camera is away, so iteration with 3 s or more survives a camera that restarts.
        queue: Messages kept while the program is busy.
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
        view: ResultView = "masks",
        timeout: float | None = None,
        queue: int = 64,
        secret_key_file: str | Path | None = None,
        server_key_file: str | Path | None = None,
    ) -> None:
        if validate_view(view) == STATE:
            raise UsageError("view 'state' comes with every other view: subscribe to masks, clean or overlay")
        self.endpoint = endpoint
        self.rejected = 0
        self._keys = _read_keys(secret_key_file, server_key_file)
        self._view = view
        self._timeout = timeout
        self._queue = queue
        self._discovered: set[str] | None = set() if source is None else None
        self._runs = Runs()
        self._received_s = -math.inf
        self._pending_end: End | None = None
        topics = [PREFIX] if source is None else [topic(validate_source_name(source), name) for name in (view, STATE)]
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = queue
        self._socket.setsockopt(zmq.MAXMSGSIZE, PART_BYTES)
        if self._keys is not None:
            self._socket.curve_secretkey = self._keys.secret
            self._socket.curve_publickey = zmq.curve_public(self._keys.secret)
            self._socket.curve_serverkey = self._keys.server
        for name in topics:
            self._socket.subscribe(name)
        # ZeroMQ does not reconnect after either of these.
        self._refusals = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        )
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._refusals, zmq.POLLIN)
        try:
            self._socket.connect(endpoint)
        except (zmq.ZMQError, UnicodeEncodeError) as error:
            self.close()
            cause = error.strerror if isinstance(error, zmq.ZMQError) else "not UTF-8"
            raise UsageError(
                f"endpoint {endpoint!r}: {cause}; expected an address such as tcp://127.0.0.1:5555"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect. Closing twice does nothing."""
        self._socket.close()
        self._refusals.close()
        self._context.term()

    @property
    def states(self) -> dict[str, SourceState]:
        """The state of each source as received so far: `starting`, `running`, `disconnected` or `restarting`.

        Empty before the first message, and after three seconds without one: then the pipeline or the connection to it
        is down.
        """
        return self._runs.states if time.monotonic() - self._received_s < _SILENT_S else {}

    def __iter__(self) -> Iterator[Result]:
        """Yield every result in order until the run ends."""
        while True:
            message = self._next(_Deadline(self._timeout))
            if isinstance(message, Result):
                yield message
            elif self._is_last(message):
                return

    async def __aiter__(self) -> AsyncIterator[Result]:
        """Yield the same as iteration does, without blocking the event loop."""
        while True:
            message = await self._next_async(_Deadline(self._timeout))
            if isinstance(message, Result):
                yield message
            elif self._is_last(message):
                return

    def messages(self) -> Iterator[Message]:
        """Yield every message in order, also state, heartbeat and end, until the run ends."""
        while True:
            message = self.receive()
            yield message
            if self._is_last(message):
                return

    def receive(self, timeout: float | None = None) -> Message:
        """Return the next message of any kind.

        Args:
            timeout: Seconds to wait; None takes the subscriber's own time-out.
        """
        return self._next(_Deadline(self._timeout if timeout is None else timeout))

    def latest(self, timeout: float | None = None) -> Result | None:
        """Return the newest result received, or wait for the next one; None when the run has ended.

        Older results are skipped without being decoded and count in `Result.gap`. Other messages are skipped too.

        Args:
            timeout: Seconds to wait; None takes the subscriber's own time-out.
        """
        deadline = _Deadline(self._timeout if timeout is None else timeout)
        while self._pending_end is None:
            self._wait(deadline)
            for parts in reversed(self._drain()):
                message = self._accept(parts)
                if isinstance(message, Result):
                    return message
        self._pending_end = None
        return None

    def _is_last(self, message: Message) -> bool:
        return isinstance(message, End) and not self._runs.active

    def _next(self, deadline: _Deadline) -> Message:
        message = self._take_pending_end()
        while message is None:
            self._wait(deadline)
            message = self._accept(self._socket.recv_multipart())
        return message

    async def _next_async(self, deadline: _Deadline) -> Message:
        from zmq.asyncio import Poller

        poller = Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._refusals, zmq.POLLIN)
        message = self._take_pending_end()
        while message is None:
            await poller.poll(deadline.milliseconds())
            self._check_arrived(deadline)
            message = self._accept(self._socket.recv_multipart())
        return message

    def _take_pending_end(self) -> Message | None:
        end, self._pending_end = self._pending_end, None
        return end

    def _wait(self, deadline: _Deadline) -> None:
        # In steps: Python handles a signal only when the poll returns.
        left = deadline.milliseconds()
        while not self._poller.poll(_SIGNALS_MS if left is None else min(left, _SIGNALS_MS)) and left != 0:
            left = deadline.milliseconds()
        self._check_arrived(deadline)

    def _check_arrived(self, deadline: _Deadline) -> None:
        if self._socket.poll(0):
            return
        if self._refusals.poll(0):
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

    def _drain(self) -> deque[list[bytes]]:
        """Receive what has arrived, up to the end of a run; keep the last few results, not decoded."""
        results: deque[list[bytes]] = deque(maxlen=_KEPT_RESULTS)
        taken = 0
        # A full queue refills from the kernel's buffers while it is drained.
        while self._pending_end is None and self._socket.poll(_REFILL_MS if taken >= self._queue else 0):
            parts = self._socket.recv_multipart()
            taken += 1
            if parts[0].endswith(b"/" + self._view.encode()):
                results.append(parts)
            elif isinstance(end := self._accept(parts), End) and not self._runs.active:
                self._pending_end = end
        return results

    def _accept(self, parts: list[bytes]) -> Message | None:
        """Decode a message; None if it is malformed, repeated, or of another view."""
        try:
            source, view = read_topic(parts[0])
            self._discover(source)
            if view not in (self._view, STATE):
                return None
            message = self._runs.follow(decode(parts))
            self._received_s = time.monotonic()
        except MessageError as error:
            self.rejected += 1
            if self.rejected == 1:
                _log.warning("a message from %s was dropped: %s", self.endpoint, error)
            return None
        return Result.of(message, self._view) if isinstance(message, messages.Result) else message

    def _discover(self, source: str) -> None:
        # The publisher makes pictures only for a subscription to their whole topic, which contains the source name.
        if self._discovered is not None and source not in self._discovered:
            self._discovered.add(source)
            self._socket.subscribe(topic(source, self._view))


def _read_keys(secret_key_file: str | Path | None, server_key_file: str | Path | None) -> ClientKeys | None:
    if secret_key_file is None and server_key_file is None:
        return None
    if secret_key_file is None or server_key_file is None:
        missing = "secret_key_file" if secret_key_file is None else "server_key_file"
        raise UsageError(
            f"{missing}: missing; a subscriber needs its own secret key and the publisher's public key, or neither"
        )
    return read_client_keys(secret_key_file, server_key_file)


class _Deadline:
    """A point in time, `seconds` from now; None is never."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = math.inf if seconds is None else seconds
        self._end = time.monotonic() + self.seconds

    def milliseconds(self) -> int | None:
        """Milliseconds left, at least 0; None without an end."""
        return None if math.isinf(self._end) else max(0, math.ceil((self._end - time.monotonic()) * 1000))
