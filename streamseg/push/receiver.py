"""The socket at which a source takes frames of another program: one sender at a time, one frame at a time."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import zmq

from streamseg.endpoints import has_listener
from streamseg.errors import EndpointInUseError, MessageError
from streamseg.inflow import Inflow, borrowed
from streamseg.socket_events import waiting_events
from streamseg.wire.curve import Admission, ServerKeys
from streamseg.wire.frames import (
    Bye,
    FrameHeader,
    Next,
    Refused,
    ToPipeline,
    ToProgram,
    encode_signal,
    read_from_program,
)
from streamseg.wire.limits import FRAME_BYTES, HANDSHAKE_S, PROGRAMS, REASON

_log = logging.getLogger(__name__)

_DOMAIN: Final = b"streamseg"
_EVENTS_S: Final = 0.5
"""Between two looks at the connections, however many messages arrive."""
_UNFINISHED_BYTES: Final = 2 * FRAME_BYTES
"""What may arrive over a connection without a complete message: the longest one, and what waits in the kernel."""


@dataclass(frozen=True, slots=True, eq=False)
class SentFrame:
    """A frame as a program sent it; `program` names its connection for `FrameReceiver.refuse`."""

    program: bytes
    header: FrameHeader
    pixels: memoryview


class FrameReceiver:
    """A ROUTER socket. The program whose frame comes first is the sender, until it leaves or is released.

    A program may send one frame for each `next`, so none waits in queues while the pipeline is busy.

    Attributes:
        lost: Why there is no sender; empty while there is one.
    """

    def __init__(self, endpoint: str, source: str, keys: ServerKeys | None) -> None:
        """Bind.

        Raises:
            EndpointInUseError: Another program has the endpoint, or this machine has no such address.
            SettingsError: The endpoint is a file.
        """
        in_use = f"{endpoint} cannot be bound for source {source}{{}}; end the program that has it, or choose another"
        if has_listener("push:", endpoint):
            raise EndpointInUseError(in_use.format(""))
        self._endpoint = endpoint
        self._bound = False
        self._source = source
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.maxmsgsize = FRAME_BYTES
        self._socket.rcvhwm = 4
        self._socket.handshake_ivl = HANDSHAKE_S * 1000
        self._socket.zap_domain = _DOMAIN  # refuses versions of the protocol before 3.0
        self._admission: Admission | None = None
        if keys is not None:
            self._admission = Admission(self._context, keys)
            self._admission.guard(self._socket)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._events_s = 0.0
        self._open: dict[int, Inflow] = {}
        self._sender: bytes | None = None
        self._descriptor = -1
        self._taken: str | None = None
        self._owes_next = False
        self.lost = "no program has sent a frame"
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise EndpointInUseError(in_use.format(f" ({os.strerror(error.errno or 0)})")) from error
        self._bound = True

    def close(self) -> None:
        """Close the socket, and remove its file, which ZeroMQ leaves. Closing twice does nothing."""
        bound = not self._socket.closed and self._bound
        self._socket.close()
        self._monitor.close()
        if self._admission is not None:
            self._admission.socket.close()
        self._context.term()
        if bound and self._endpoint.startswith("ipc://") and not has_listener("push:", self._endpoint):
            Path(self._endpoint.removeprefix("ipc://")).unlink(missing_ok=True)

    def receive(self, within_ms: int) -> SentFrame | None:
        """The next frame; None if none arrives in time, or if something else arrives."""
        if self._owes_next and self._sender is not None:
            self._owes_next = False
            self._answer(self._sender, Next(taken=self._taken))
        self._poll(within_ms)
        if self._admission is not None:
            self._admission.decide()
        if time.monotonic() - self._events_s > _EVENTS_S:
            self._read_events()
        try:
            program, *parts = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            self._read_events()  # not before the last messages of a connection that ended
            return None
        descriptor = _descriptor_of(program)
        if descriptor in self._open:
            self._open[descriptor].completed()
        return self._take(program.bytes, descriptor, [part.buffer for part in parts])

    def release(self, reason: str) -> None:
        """Forget the sender, so that another program may take its place."""
        self._sender, self._owes_next, self.lost = None, False, reason

    def refuse(self, program: bytes, reason: str) -> None:
        """Answer a program that what it sent is not used. A `hello` comes before its next frame."""
        if program == self._sender:
            self._sender, self._owes_next = None, False
        self._answer(program, Refused(reason=reason[:REASON]))

    def _take(self, program: bytes, descriptor: int, parts: list[memoryview]) -> SentFrame | None:
        try:
            message, pixels = read_from_program(parts)
            self._check(program, message)
        except MessageError as error:
            self.refuse(program, str(error))
            return None
        if isinstance(message, Bye):
            if program == self._sender:
                self.release("the program has closed its sender")
            return None
        if not isinstance(message, FrameHeader):
            self._answer(program, Next())
            return None
        self._sender, self._descriptor, self._taken = program, descriptor, message.seq
        self._owes_next, self.lost = True, ""
        return SentFrame(program, message, pixels)

    def _check(self, program: bytes, message: ToPipeline) -> None:
        if message.source != self._source:
            raise MessageError(
                f"this is the address of source {self._source}, not of {message.source[:64]}; check both"
            )
        if self._sender not in (None, program):
            raise MessageError(f"source {self._source} has another sender; close that one, or use another source")

    def _poll(self, within_ms: int) -> None:
        poller = zmq.Poller()
        for each in (self._socket, self._monitor, *([] if self._admission is None else [self._admission.socket])):
            poller.register(each, zmq.POLLIN)
        poller.poll(within_ms)

    def _read_events(self) -> None:
        self._events_s = time.monotonic()
        self._end_endless()
        for event, descriptor in waiting_events(self._monitor):
            known = self._open.pop(descriptor, None) is not None
            # The first frame of a connection may come before its own event.
            is_new = event == zmq.EVENT_ACCEPTED and not known
            if self._sender is not None and descriptor == self._descriptor and not is_new:
                self.release("the program has disconnected")
            if event == zmq.EVENT_ACCEPTED:
                self._accept(descriptor)

    def _accept(self, descriptor: int) -> None:
        if len(self._open) >= PROGRAMS:  # the oldest one that is not the sender makes room
            oldest = next(each for each in self._open if self._sender is None or each != self._descriptor)
            del self._open[oldest]
            _end(oldest)
        self._open[descriptor] = Inflow()
        self._open[descriptor].connected(descriptor)

    def _end_endless(self) -> None:
        """End the connections whose message has no end: libzmq keeps its parts until the last one arrives."""
        for descriptor, inflow in list(self._open.items()):
            if inflow.count() > _UNFINISHED_BYTES:
                del self._open[descriptor]
                _log.warning("a program sends source %s a message without an end: disconnected", self._source)
                _end(descriptor)

    def _answer(self, program: bytes, message: ToProgram) -> None:
        with suppress(zmq.ZMQError):  # it has left, or reads nothing
            self._socket.send_multipart([program, *encode_signal(message)], zmq.NOBLOCK)


def _descriptor_of(message: zmq.Frame) -> int:
    """The connection that a message came from; -1 if that has ended."""
    try:
        return int(message.get(zmq.SRCFD))
    except zmq.ZMQError:
        return -1


def _end(descriptor: int) -> None:
    with suppress(OSError), borrowed(descriptor) as connection:
        connection.shutdown(socket.SHUT_RDWR)
