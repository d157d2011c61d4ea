"""The socket of a subscriber: its keys, its topics, and waiting for what arrives."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Final

import zmq

from streamseg.endpoints import check_remote
from streamseg.errors import UsageError
from streamseg.inflow import Inflow
from streamseg.socket_events import waiting_events
from streamseg.wire.curve import ClientKeys
from streamseg.wire.limits import PART_BYTES, PARTS

_log = logging.getLogger(__name__)

_STEP_MS: Final = 50
_UNFINISHED_BYTES: Final = 2 * PARTS * PART_BYTES
"""What may arrive without a complete message: the longest one, and as much for what waits in the kernel."""
_REFUSALS: Final = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
"""ZeroMQ does not reconnect after either of these."""


class Deadline:
    """A point in time, `seconds` from now; None is never."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = math.inf if seconds is None else seconds
        self._end = time.monotonic() + self.seconds

    def milliseconds(self) -> int | None:
        """Milliseconds left, at least 0; None without an end."""
        return None if math.isinf(self._end) else max(0, math.ceil((self._end - time.monotonic()) * 1000))


class Subscription:
    """A SUB socket that is connected to a publisher, or connects as soon as there is one.

    Attributes:
        refused: Whether the publisher refused the key, or the lack of one.
    """

    def __init__(self, endpoint: str, topics: Sequence[bytes], queue: int, keys: ClientKeys | None) -> None:
        """Connect.

        Args:
            endpoint: ZeroMQ address of the publisher.
            topics: Prefixes of the topics to receive.
            queue: Messages that ZeroMQ keeps.
            keys: For a publisher that admits certain keys only.

        Raises:
            UsageError: The endpoint is invalid.
        """
        check_remote("endpoint", endpoint)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = queue
        self._socket.setsockopt(zmq.MAXMSGSIZE, PART_BYTES)
        if keys is not None:
            keys.guard(self._socket)
        for name in topics:
            self._socket.subscribe(name)
        self.refused = False
        self._endpoint = endpoint
        self._inflow = Inflow()
        self._events = self._socket.get_monitor_socket(_REFUSALS | zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._events, zmq.POLLIN)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise UsageError(
                f"endpoint {endpoint!r}: {error.strerror}; expected an address such as tcp://127.0.0.1:5555"
            ) from error

    def close(self) -> None:
        """Disconnect. Closing twice does nothing."""
        self._socket.close()
        self._events.close()
        self._context.term()

    def add(self, topic: bytes) -> None:
        """Receive another topic too."""
        self._socket.subscribe(topic)

    def remove(self, topic: bytes) -> None:
        """Receive a topic no more."""
        self._socket.unsubscribe(topic)

    def arrived(self, within_ms: int = 0) -> bool:
        """Whether a message is there, or arrives within some milliseconds."""
        return bool(self._socket.poll(within_ms))

    def receive(self) -> list[bytes]:
        """The parts of the next message, which has arrived."""
        self._inflow.completed()
        return self._socket.recv_multipart()

    def wait(self, deadline: Deadline) -> None:
        """Wait for a message or a refusal. A publisher whose message does not end is disconnected for good."""
        while not self._is_over() and (step := _step_ms(deadline)):
            self._poller.poll(step)

    async def wait_async(self, deadline: Deadline) -> None:
        """Do the same without blocking the event loop."""
        from zmq.asyncio import Poller

        poller = Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._events, zmq.POLLIN)
        while not self._is_over() and (step := _step_ms(deadline)):
            await poller.poll(step)

    def _is_over(self) -> bool:
        """Whether a message or a refusal is there."""
        self._note_events()
        unfinished = self._inflow.count()  # before the poll: what completes a message meanwhile does not count
        if self._socket.poll(0):
            return True
        if unfinished > _UNFINISHED_BYTES:
            _log.warning("%s sends a message that is longer than the format allows: disconnected", self._endpoint)
            self._inflow.disconnected()
            self._socket.disconnect(self._endpoint)
        return self.refused

    def _note_events(self) -> None:
        for event, value in waiting_events(self._events):
            match event:
                case zmq.EVENT_CONNECTED:
                    self._inflow.connected(value)
                case zmq.EVENT_DISCONNECTED:
                    self._inflow.disconnected()
                case _:
                    self.refused = True


def _step_ms(deadline: Deadline) -> int:
    """Milliseconds to wait until the next look, 0 at the deadline. Python handles a signal only between two waits."""
    left = deadline.milliseconds()
    return _STEP_MS if left is None else min(left, _STEP_MS)
