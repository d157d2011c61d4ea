"""Links between stages: descriptors go forward, credit comes back.

ZeroMQ's high-water marks are no back-pressure (kernel buffers and the queues of both ends add up), so links use credit:

- `newest`: the receiver grants one credit when it can take a message at once. Without credit the sender keeps only the
  newest message and counts the one it replaced. What arrives was therefore the newest when it was sent.
- `ordered`: first in, first out; the sender must bound what is in flight.

Both ends are DEALER sockets: credit returns on the socket that sends the frames, and both die together. A credit is a
random number, repeated while nothing arrives. So repeats are harmless, and either end can be killed and restarted
without a handshake. Every message begins with the run's key, which matters if links have to be TCP.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import deque
from pathlib import Path
from typing import Final, Generic, Literal, Protocol, TypeVar

import msgspec
import zmq

from streamseg.errors import StageError

Policy = Literal["newest", "ordered"]
Payload = TypeVar("Payload")

_Sent = TypeVar("_Sent", contravariant=True)
_Received = TypeVar("_Received", covariant=True)

LINGER_MS: Final = 500
"""Time for messages in flight when a socket is closed at the end of a run."""
_CREDIT_BYTES = 8
_REPEAT_NS = 50_000_000
_RENEW_NS = 1_000_000_000


class LinkAddress(msgspec.Struct, frozen=True):
    """A link of the pipeline's table for one source, from stage to stage."""

    sender: str
    receiver: str
    source: str
    address: str
    policy: Policy


class Sender(Protocol[_Sent]):
    """What a stage sends messages with."""

    replaced: int
    """Messages replaced by a newer one before they could be sent."""

    @property
    def credit(self) -> bool:
        """Whether the receiver waits for a message."""
        ...

    def send(self, payload: _Sent, *, replace: bool = True) -> None:
        """Send, or keep until `service` can; with `replace`, in place of a message that waits. Never blocks."""
        ...

    def service(self) -> None:
        """Send what the receiver's credit allows; call it every turn."""
        ...


class Receiver(Protocol[_Received]):
    """What a stage receives messages with."""

    def grant(self) -> None:
        """Allow the sender one message. Call it every turn, before waiting, or the sender never sends."""
        ...

    def receive(self) -> _Received | None:
        """The next message, or None if none has arrived."""
        ...


def link_address(directory: Path, name: str) -> str:
    """The address of a link: a socket in the run's private folder, or loopback TCP without Unix sockets."""
    if zmq.has("ipc") and hasattr(os, "getuid"):
        return f"ipc://{directory / name}"
    with zmq.Context() as context, context.socket(zmq.PULL) as probe:
        return f"tcp://127.0.0.1:{probe.bind_to_random_port('tcp://127.0.0.1')}"


def bind_link(socket: zmq.Socket[bytes], address: str) -> None:
    """Bind a socket to the address of a link.

    Raises:
        StageError: It cannot be bound; the socket is closed.
    """
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        socket.close(0)
        raise StageError(f"cannot open the link {address}: {error.strerror}") from error


def _open(context: zmq.Context[zmq.Socket[bytes]], linger_ms: int = 0) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    socket.linger = linger_ms
    socket.immediate = True
    socket.sndhwm = socket.rcvhwm = 0
    return socket


class LinkSender(Generic[Payload]):
    """The sending end of a link; it connects."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, key: bytes, policy: Policy, linger_ms: int = 0
    ) -> None:
        self.socket = _open(context, linger_ms)
        self.socket.connect(address)
        self.replaced = 0
        """Messages replaced by a newer one before they could be sent."""
        self._key = key
        self._policy = policy
        self._waiting: deque[bytes] = deque()
        self._credit: bytes | None = None
        self._spent: bytes | None = None

    @property
    def credit(self) -> bool:
        """Whether the receiver waits for a message."""
        self._take_credit()
        return self._credit is not None

    def send(self, payload: Payload, *, replace: bool = True) -> None:
        """Send, or keep until `service` can; on a `newest` link in place of what waits, unless it is to be kept."""
        if replace and self._policy == "newest" and self._waiting:
            self._waiting.clear()
            self.replaced += 1
        self._waiting.append(msgspec.msgpack.encode(payload))
        self.service()

    def service(self) -> None:
        """Send what the receiver's credit allows; call it every turn."""
        self._take_credit()
        while self._waiting and (self._policy == "ordered" or self._credit is not None):
            try:
                self.socket.send_multipart([self._key, self._waiting[0]], zmq.NOBLOCK)
            except zmq.Again:
                return
            self._waiting.popleft()
            self._spent, self._credit = self._credit, None

    def close(self) -> None:
        """Close the socket; what waits is dropped."""
        self.socket.close(0)

    def _take_credit(self) -> None:
        while True:
            try:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(parts) == 2 and parts[0] == self._key and parts[1] != self._spent:
                self._credit = parts[1]


class LinkReceiver(Generic[Payload]):
    """The receiving end of a link; it binds."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, key: bytes, policy: Policy, kind: type[Payload]
    ) -> None:
        self.socket = _open(context)
        bind_link(self.socket, address)
        self._key = key
        self._policy = policy
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._credit: bytes | None = None
        self._granted_ns = self._repeated_ns = 0

    def grant(self) -> None:
        """Allow the sender one message. Called every turn, it repeats a credit that may have been lost."""
        if self._policy == "ordered":
            return
        now = time.monotonic_ns()
        if self._credit is None or now - self._granted_ns > _RENEW_NS:
            self._credit, self._granted_ns, self._repeated_ns = secrets.token_bytes(_CREDIT_BYTES), now, 0
        if now - self._repeated_ns < _REPEAT_NS:
            return
        try:
            self.socket.send_multipart([self._key, self._credit], zmq.NOBLOCK)
            self._repeated_ns = now
        except zmq.Again:
            return

    def receive(self) -> Payload | None:
        """The next message, or None if none has arrived. Messages with a foreign key are ignored."""
        while True:
            try:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            if len(parts) == 2 and parts[0] == self._key:
                self._credit = None
                return self._decoder.decode(parts[1])

    def close(self) -> None:
        """Close the socket."""
        self.socket.close(0)
