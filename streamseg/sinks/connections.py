"""The connections of a publishing socket: their subscriptions, and the limits of what they may send."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress
from typing import Final

import zmq

from streamseg.inflow import Inflow, borrowed
from streamseg.socket_events import waiting_events
from streamseg.wire.limits import (
    HANDSHAKE_S,
    READER_BYTES,
    READER_MESSAGE_BYTES,
    READER_TOPICS,
    READERS,
    READERS_BYTES,
    TOPIC_BYTES,
    TOPICS,
)

_log = logging.getLogger(__name__)

_DOMAIN: Final = b"streamseg"
_KERNEL_BYTES: Final = 4096
_KEEPALIVE_S: Final = 60
_MEASURED_EVERY_S: Final = 0.1
_SUBSCRIBE, _CANCEL = b"\x01", b"\x00"


def limit_input(listening: zmq.Socket[bytes], *, curve: bool, message_bytes: int = READER_MESSAGE_BYTES) -> None:
    """Limit what libzmq itself takes from each connection; call it before the socket is bound.

    libzmq stores the subscriptions that wait within the call that receives the first one. If more than one may wait, a
    peer that sends without a pause keeps it in that call for ever.
    """
    listening.maxmsgsize = message_bytes
    listening.rcvhwm = 2 if curve else 1  # with CURVE, libzmq counts the credential of the peer for good
    listening.rcvbuf = _KERNEL_BYTES
    listening.handshake_ivl = HANDSHAKE_S * 1000
    listening.tcp_keepalive = 1
    listening.tcp_keepalive_idle = listening.tcp_keepalive_intvl = _KEEPALIVE_S
    # Refuses versions of the protocol before 3.0, in which any bytes are a valid beginning.
    listening.zap_domain = _DOMAIN


class Connections:
    """The open connections of a socket: its subscribers, and its proxy if it has one.

    A connection that exceeds a limit of `wire.limits` is ended; libzmq connects again by itself.

    Attributes:
        monitor: Reports each connection; readable when one opens or ends.
    """

    def __init__(self, observed: zmq.Socket[bytes], most: int = READERS, *, peer: str = "subscriber") -> None:
        """Observe an XPUB socket with `XPUB_VERBOSER`, or a ROUTER socket.

        Args:
            observed: Not bound yet.
            most: Connections at a time.
            peer: What connects, for people.
        """
        self._peer = peer
        self.monitor = observed.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED)
        self._most = most
        self._open: dict[int, set[bytes]] = {}
        self._inflows: dict[int, Inflow] = {}
        self._changes: list[bytes] = []
        self._topics = 0
        self._measured_s = 0.0
        self._logged: set[str] = set()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def take_changes(self) -> list[bytes]:
        """The subscriptions and cancellations since the last call, for an XSUB socket to send upstream.

        The socket itself counts the subscriptions to each topic.
        """
        changes, self._changes = self._changes, []
        return changes

    def update(self) -> None:
        """Note which connections opened and ended, and end those that sent too much."""
        self._read_events()
        now_s = time.monotonic()
        if now_s - self._measured_s >= _MEASURED_EVERY_S:
            self._measured_s = now_s
            self._limit_bytes()

    def receive(self, message: zmq.Frame) -> None:
        """Take one message of the socket."""
        try:
            descriptor = int(message.get(zmq.SRCFD))
        except zmq.ZMQError:
            return  # a subscription that ended with its connection
        # libzmq may have used the descriptor again: its events come before its messages.
        self._read_events()
        if descriptor not in self._open:
            return
        kind, name = message.bytes[:1], message.bytes[1:]
        if kind == _SUBSCRIBE:
            self._subscribe(descriptor, name)
        elif kind == _CANCEL and name in self._open[descriptor]:
            self._open[descriptor].remove(name)
            self._cancel(name)
        # Anything else is a message that an XSUB socket sent upstream; streamseg has no use for it.

    def complete(self, message: zmq.Frame) -> None:
        """Note that a whole request arrived: of its connection, only what follows counts."""
        with suppress(zmq.ZMQError):  # a request whose connection has ended
            descriptor = int(message.get(zmq.SRCFD))
            self._read_events()
            if descriptor in self._inflows:
                self._inflows[descriptor].completed()
                self._inflows[descriptor].count()  # the next message counts from here

    def _read_events(self) -> None:
        for event, descriptor in waiting_events(self.monitor):
            self._forget(descriptor)
            if event != zmq.EVENT_DISCONNECTED:
                self._add(descriptor)

    def _add(self, descriptor: int) -> None:
        if len(self._open) >= self._most:
            # The one that has been open for longest without a subscription makes room; else there is none.
            idle = next((each for each, topics in self._open.items() if not topics), descriptor)
            self._end(idle, f"{self._most} are connected, and there is no room for more")
            if idle == descriptor:
                return
        self._open[descriptor] = set()
        self._inflows[descriptor] = Inflow()
        self._inflows[descriptor].connected(descriptor, counts_all=True)

    def _subscribe(self, descriptor: int, name: bytes) -> None:
        topics = self._open[descriptor]
        if name in topics:
            return
        if len(name) > TOPIC_BYTES:
            self._end(descriptor, f"a subscription is longer than {TOPIC_BYTES} bytes")
        elif len(topics) >= READER_TOPICS:
            self._end(descriptor, f"it has more than {READER_TOPICS} subscriptions")
        elif self._topics >= TOPICS:
            self._end(descriptor, f"all subscribers together have more than {TOPICS} subscriptions")
        else:
            topics.add(name)
            self._topics += 1
            self._changes.append(_SUBSCRIBE + name)

    def _cancel(self, name: bytes) -> None:
        self._topics -= 1
        self._changes.append(_CANCEL + name)

    def _forget(self, descriptor: int) -> None:
        self._inflows.pop(descriptor, None)
        for name in self._open.pop(descriptor, ()):
            self._cancel(name)

    def _limit_bytes(self) -> None:
        """End the connections that sent too much: libzmq keeps the parts of a message until the last one arrives."""
        sent = sorted((inflow.count(), descriptor) for descriptor, inflow in self._inflows.items())
        total = sum(count for count, _ in sent)
        while sent and (sent[-1][0] > READER_BYTES or total > READERS_BYTES):
            count, descriptor = sent.pop()
            total -= count
            self._end(descriptor, f"it sent too much; a {self._peer} may send {READER_BYTES >> 10} KiB")

    def _end(self, descriptor: int, reason: str) -> None:
        self._forget(descriptor)
        with suppress(OSError), borrowed(descriptor) as connection:
            address = connection.getpeername()
            connection.shutdown(socket.SHUT_RDWR)
            if reason not in self._logged:  # an attacker connects again and again
                self._logged.add(reason)
                _log.warning("the %s at %s was disconnected: %s", self._peer, _text(address), reason)


def _text(address: object) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "the Unix socket"
