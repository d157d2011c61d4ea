"""The hub: one public socket for the results of all sources, and the only one that strangers reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import zmq

from streamseg.errors import EndpointInUseError, SettingsError, StreamsegError
from streamseg.ipc.links import bind_link
from streamseg.sinks.connections import Connections, limit_input
from streamseg.wire.curve import Admission, read_server_keys
from streamseg.wire.limits import READERS

if TYPE_CHECKING:
    from streamseg.config import PublishSettings

_SUBSCRIBE, _CANCEL = b"\x01", b"\x00"
_QUEUE = 8
"""Messages that wait for a slow subscriber."""
_LIVE_BUFFER_BYTES = 1 << 16
"""Kernel buffer of each subscriber. With less, TCP on loopback waits 40 ms for acknowledgements of each picture."""
_FILE_BUFFER_BYTES = 1 << 20
_MESSAGES_PER_TURN = 64
_LAST_MS = 50
"""Within which a message of a process that has ended arrives."""


class Hub:
    """An XPUB socket for subscribers and an XSUB socket for the publish processes of all sources.

    Results go from there to here, and subscriptions back: publish draws and encodes only what a subscriber wants.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        settings: PublishSettings,
        address: str,
        *,
        live: bool = False,
        most: int = READERS,
    ) -> None:
        """Bind both sockets, and connect to the proxy if there is one.

        Args:
            context: Of the sockets.
            settings: The endpoint, and who may subscribe.
            address: Where the publish processes connect.
            live: Keep little for a subscriber that is slow. For one of a file, more fits.
            most: Connections at a time.

        Raises:
            EndpointInUseError: Another process has the endpoint.
            SettingsError: A key file cannot be used, or the proxy's address cannot exist.
            StageError: The address cannot be bound.
        """
        self.socket = context.socket(zmq.XPUB)
        self.socket.linger = 0
        self.socket.sndhwm = _QUEUE
        self.socket.sndbuf = _LIVE_BUFFER_BYTES if live else _FILE_BUFFER_BYTES
        self.socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # shows every subscription and cancellation of every subscriber
        limit_input(self.socket, curve=settings.curve is not None)
        self.admission: Admission | None = None
        """Admits subscribers by their keys; None without keys."""
        if settings.curve is not None:
            self.admission = Admission(
                context, read_server_keys(settings.curve.secret_key_file, settings.curve.allow_files)
            )
            self.admission.guard(self.socket)
        self._connections = Connections(self.socket, most)
        self._own: Counter[bytes] = Counter()
        self._inside = context.socket(zmq.XSUB)
        self._inside.linger = 0
        if live:
            self._inside.rcvhwm = _QUEUE
        try:
            self._bind(settings.bind)
            if settings.connect is not None:
                self._connect(settings.connect)
            bind_link(self._inside, address)
        except StreamsegError:
            for socket in self.sockets:  # an open socket would block the end of the context
                socket.close()
            raise

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """The sockets to watch, and to close at the end in this order."""
        own = [self._inside, self.socket, self._connections.monitor]
        return own if self.admission is None else [*own, self.admission.socket]

    def subscribe(self, name: bytes) -> None:
        """Subscribe to a complete topic for the hub itself; `service` passes its messages to `taken`."""
        self._own[name] += 1
        self._inside.send(_SUBSCRIBE + name)

    def unsubscribe(self, name: bytes) -> None:
        """Cancel one subscription of the hub itself."""
        self._own[name] -= 1
        if not self._own[name]:
            del self._own[name]  # programs may name anything
        self._inside.send(_CANCEL + name)

    def service(self, taken: Callable[[bytes, Sequence[zmq.Frame]], None] | None = None) -> bool:
        """Process connections and subscriptions, forward what has arrived, and return whether that was something.

        Args:
            taken: Gets the messages of topics to which the hub itself subscribes, with the topic.
        """
        if self.admission is not None:
            self.admission.decide()
        self._connections.update()
        for _ in range(_MESSAGES_PER_TURN):
            try:
                self._connections.receive(self.socket.recv(zmq.NOBLOCK, copy=False))
            except zmq.Again:
                break
        for change in self._connections.take_changes():
            self._inside.send(change)
        for count in range(_MESSAGES_PER_TURN):
            try:
                parts = self._inside.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return count > 0
            name = parts[0].bytes
            if taken is not None and self._own[name]:
                taken(name, parts)
            self.socket.send_multipart(parts, zmq.NOBLOCK, copy=False)
        return True

    def connections(self) -> int:
        """How many subscribers and proxies are connected."""
        return len(self._connections)

    def finish(self, linger_ms: int) -> None:
        """Forward the last messages; subscribers then have so long to receive what is in flight."""
        while self.service() or self._inside.poll(_LAST_MS):
            pass
        self.socket.linger = linger_ms

    def _bind(self, endpoint: str) -> None:
        try:
            self.socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise EndpointInUseError(
                f"{endpoint}: cannot be bound ({error.strerror}); end the program that has it, or choose another"
            ) from error

    def _connect(self, endpoint: str) -> None:
        # A proxy's subscriptions end with its connection; it subscribes again when it is back.
        self.socket.immediate = True
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise SettingsError(
                f"publish.connect: {endpoint} ({error.strerror}); expected the address of a proxy"
            ) from error
