"""The socket of a subscriber: its keys, its topics, and waiting for what arrives."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Final

import zmq

from streamseg.endpoints import check_endpoint
from streamseg.errors import UsageError
from streamseg.wire.curve import ClientKeys
from streamseg.wire.limits import PART_BYTES

_SIGNALS_MS: Final = 200


class Deadline:
    """A point in time, `seconds` from now; None is never."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = math.inf if seconds is None else seconds
        self._end = time.monotonic() + self.seconds

    def milliseconds(self) -> int | None:
        """Milliseconds left, at least 0; None without an end."""
        return None if math.isinf(self._end) else max(0, math.ceil((self._end - time.monotonic()) * 1000))


class Subscription:
    """A SUB socket that is connected to a publisher, or connects as soon as there is one."""

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
        check_endpoint("endpoint", endpoint)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = queue
        self._socket.setsockopt(zmq.MAXMSGSIZE, PART_BYTES)
        if keys is not None:
            self._socket.curve_secretkey = keys.secret
            self._socket.curve_publickey = zmq.curve_public(keys.secret)
            self._socket.curve_serverkey = keys.server
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
        except zmq.ZMQError as error:
            self.close()
            raise UsageError(
                f"endpoint {endpoint!r}: {error.strerror}; expected an address such as tcp://127.0.0.1:5555"
            ) from error

    def close(self) -> None:
        """Disconnect. Closing twice does nothing."""
        self._socket.close()
        self._refusals.close()
        self._context.term()

    def add(self, topic: bytes) -> None:
        """Receive another topic too."""
        self._socket.subscribe(topic)

    def arrived(self, within_ms: int = 0) -> bool:
        """Whether a message is there, or arrives within some milliseconds."""
        return bool(self._socket.poll(within_ms))

    def receive(self) -> list[bytes]:
        """The parts of the next message, which has arrived."""
        return self._socket.recv_multipart()

    @property
    def refused(self) -> bool:
        """Whether the publisher refused the key, or the lack of one."""
        return bool(self._refusals.poll(0))

    def wait(self, deadline: Deadline) -> None:
        """Wait for a message or a refusal."""
        # In steps: Python handles a signal only when the poll returns.
        left = deadline.milliseconds()
        while not self._poller.poll(_SIGNALS_MS if left is None else min(left, _SIGNALS_MS)) and left != 0:
            left = deadline.milliseconds()

    async def wait_async(self, deadline: Deadline) -> None:
        """Do the same without blocking the event loop."""
        from zmq.asyncio import Poller

        poller = Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._refusals, zmq.POLLIN)
        await poller.poll(deadline.milliseconds())
