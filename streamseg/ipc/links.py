"""Links between stages: descriptors go forward, credit comes back.

ZeroMQ's high-water marks are no back-pressure (kernel buffers and both ends' queues add up), so a link counts for itself:

- `newest`: the receiver grants one credit when it can take a message at once. Without credit the sender keeps only the
  newest message and counts the one that it replaced. What arrives was therefore the newest when it was sent.
- `ordered`: first in, first out; whoever feeds the link bounds what is under way.

Both ends are DEALER sockets, so that credit returns on the socket that frames leave by and both die together. A credit is
named by a random number and repeated while nothing comes: that makes it safe to repeat, and lets either end be killed and
started anew without a handshake. Every message begins with the run's key, which matters where links have to be TCP.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import deque
from pathlib import Path
from typing import Generic, Literal, TypeVar

import msgspec
import zmq

from streamseg.errors import StageError

Policy = Literal["newest", "ordered"]
Payload = TypeVar("Payload")

_CREDIT_BYTES = 8
_REPEAT_NS = 50_000_000
_RENEW_NS = 1_000_000_000


def link_address(directory: Path, name: str) -> str:
    """The address of a link: a socket in the run's private folder, or loopback TCP where the system has no such sockets."""
    if zmq.has("ipc") and hasattr(os, "getuid"):
        return f"ipc://{directory / name}"
    with zmq.Context() as context, context.socket(zmq.PULL) as probe:
        return f"tcp://127.0.0.1:{probe.bind_to_random_port('tcp://127.0.0.1')}"


def _open(context: zmq.Context[zmq.Socket[bytes]], linger_ms: int = 0) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    socket.linger = linger_ms
    socket.immediate = True
    socket.sndhwm = socket.rcvhwm = 0
    return socket


class LinkSender(Generic[Payload]):
    """The end of a link that messages leave by; it connects."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, key: bytes, policy: Policy, linger_ms: int = 0
    ) -> None:
        self.socket = _open(context, linger_ms)
        self.socket.connect(address)
        self.replaced = 0
        """How many messages a newer one has replaced."""
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

    def send(self, payload: Payload) -> None:
        """Send, or keep until `service` can. Never blocks."""
        if self._policy == "newest" and self._waiting:
            self._waiting.clear()
            self.replaced += 1
        self._waiting.append(msgspec.msgpack.encode(payload))
        self.service()

    def service(self) -> None:
        """Take in credit and send what it allows; to be called whenever the socket is readable."""
        self._take_credit()
        while self._waiting and (self._policy == "ordered" or self._credit is not None):
            try:
                self.socket.send_multipart([self._key, self._waiting[0]], zmq.NOBLOCK)
            except zmq.Again:
                return
            self._waiting.popleft()
            self._spent, self._credit = self._credit, None

    def _take_credit(self) -> None:
        while True:
            try:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(parts) == 2 and parts[0] == self._key and parts[1] != self._spent:
                self._credit = parts[1]


class LinkReceiver(Generic[Payload]):
    """The end of a link that messages arrive at; it binds."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, key: bytes, policy: Policy, kind: type[Payload]
    ) -> None:
        self.socket = _open(context)
        try:
            self.socket.bind(address)
        except zmq.ZMQError as error:
            self.socket.close(0)
            raise StageError(f"the link {address} cannot be made: {error.strerror}") from error
        self._key = key
        self._policy = policy
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._credit: bytes | None = None
        self._granted_ns = self._repeated_ns = 0

    def grant(self) -> None:
        """Say that one message can be taken at once. Called each turn: it repeats a credit that seems to have been lost."""
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
        """The next message, or None where none has arrived. Messages with a foreign key are ignored."""
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
