"""The control socket of the hub: takes the requests of other programs, and sends them snapshots and replies."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import zmq

from streamseg.errors import EndpointInUseError, MessageError, SourceError, StreamsegError, UsageError
from streamseg.sinks.connections import Connections, limit_input
from streamseg.wire.limits import CONTROLLERS, REQUEST_BYTES
from streamseg.wire.protocol import topic
from streamseg.wire.requests import (
    ErrorReply,
    SnapshotReply,
    SnapshotRequest,
    decode_reply,
    decode_request,
    encode,
    refusal,
)

if TYPE_CHECKING:
    from streamseg.sinks.hub import Hub
    from streamseg.wire.curve import Admission

_REPLIES = 8
"""Replies that wait for a program that is slow; more are dropped."""
_REQUESTS_PER_TURN = 16
_SNAPSHOT_S: Final = 5.0
_SNAPSHOTS: Final = 64
"""Snapshots that are waited for at a time."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A snapshot that a program waits for, until a moment on the monotonic clock."""

    client: bytes
    request: SnapshotRequest
    until_s: float


class ControlSocket:
    """A ROUTER socket beside the hub's.

    A snapshot is the next result of the view that the hub forwards: the hub subscribes to it until it arrives, or until
    the supervisor replies that the source has none.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], hub: Hub, endpoint: str, allowed: frozenset[bytes]
    ) -> None:
        """Bind the socket.

        Args:
            context: Of the socket.
            hub: Forwards the results; admits programs by their keys, if it admits subscribers so.
            endpoint: To bind.
            allowed: The public keys that may control the run, if there are keys.

        Raises:
            EndpointInUseError: Another process has the endpoint.
        """
        self._hub = hub
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.sndhwm = _REPLIES
        admission: Admission | None = hub.admission
        limit_input(self.socket, curve=admission is not None, message_bytes=REQUEST_BYTES)
        if admission is not None:
            admission.guard_control(self.socket, allowed)
        self._connections = Connections(self.socket, CONTROLLERS, peer="program")
        self._wanted: list[_Wanted] = []
        try:
            self.socket.bind(endpoint)
        except zmq.ZMQError as error:
            for each in self.sockets:
                each.close()
            raise EndpointInUseError(
                f"{endpoint}: cannot be bound ({error.strerror}); end the program that has it, or choose another"
            ) from error

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """The sockets to watch, and to close at the end in this order."""
        return [self.socket, self._connections.monitor]

    def requests(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield valid requests and their clients; what is not valid is answered here."""
        self._connections.update()
        for _ in range(_REQUESTS_PER_TURN):
            try:
                client, *frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            if frames:
                self._connections.complete(frames[-1])
            parts = [frame.bytes for frame in frames]
            try:
                request = decode_request(parts)
            except MessageError as error:
                self._send(client.bytes, [encode(refusal("", error))])
                continue
            if not isinstance(request, SnapshotRequest) or self._want(client.bytes, request):
                yield client.bytes, parts[0]
        self._give_up_late()

    def reply(self, client: bytes, data: bytes) -> None:
        """Send the supervisor's reply; instead of one that a snapshot follows, the result is sent when it arrives."""
        reply = decode_reply([data])
        if isinstance(reply, SnapshotReply):
            return
        if isinstance(reply, ErrorReply):
            for wanted in [each for each in self._wanted if (each.client, each.request.id) == (client, reply.id)]:
                self._forget(wanted)
        self._send(client, [data])

    def forwarded(self, name: bytes, parts: Sequence[zmq.Frame]) -> None:
        """Send a result of the hub to the programs that wait for it."""
        for wanted in [each for each in self._wanted if _topic(each.request) == name]:
            reply = encode(SnapshotReply(id=wanted.request.id))
            self._send(wanted.client, [reply, *(part.bytes for part in parts)])
            self._forget(wanted)

    def _want(self, client: bytes, request: SnapshotRequest) -> bool:
        """Wait for a snapshot, and return whether there is room for that."""
        if len(self._wanted) >= _SNAPSHOTS:
            self._refuse(client, request, UsageError(f"{_SNAPSHOTS} snapshots are waited for; try again"))
            return False
        self._wanted.append(_Wanted(client, request, time.monotonic() + _SNAPSHOT_S))
        self._hub.subscribe(_topic(request))
        return True

    def _give_up_late(self) -> None:
        now_s = time.monotonic()
        for wanted in [each for each in self._wanted if each.until_s < now_s]:
            error = SourceError(
                f"{wanted.request.source}: no picture within {_SNAPSHOT_S:g} s; is the camera connected?"
            )
            self._refuse(wanted.client, wanted.request, error)
            self._forget(wanted)

    def _refuse(self, client: bytes, request: SnapshotRequest, error: StreamsegError) -> None:
        self._send(client, [encode(refusal(request.id, error))])

    def _send(self, client: bytes, parts: Sequence[bytes]) -> None:
        """Send to a program, unless it has gone or takes nothing."""
        with suppress(zmq.Again):
            self.socket.send_multipart([client, *parts], zmq.NOBLOCK)

    def _forget(self, wanted: _Wanted) -> None:
        self._wanted.remove(wanted)
        self._hub.unsubscribe(_topic(wanted.request))


def _topic(request: SnapshotRequest) -> bytes:
    return topic(request.source, request.view)
