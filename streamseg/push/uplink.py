"""The connection of a `FrameSender`, in a thread of its own: the newest frame waits for the pipeline's `next`."""

from __future__ import annotations

import math
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import zmq

from streamseg.errors import MessageError
from streamseg.socket_events import waiting_events
from streamseg.wire.curve import ClientKeys
from streamseg.wire.frames import (
    Bye,
    Encoding,
    FrameHeader,
    Hello,
    Next,
    encode_frame,
    encode_signal,
    read_from_pipeline,
)
from streamseg.wire.limits import FRAME_HEADER_BYTES

_KEY_REFUSED: Final = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
"""ZeroMQ does not reconnect after either of these."""
_STEP_MS: Final = 100
_RETRY_S: Final = 1.0
_RECONNECT_MS: Final = 100
_LONGEST_RECONNECT_MS: Final = 2000
_LINGER_MS: Final = 500


@dataclass(frozen=True, slots=True, eq=False)
class WaitingFrame:
    """A frame that is ready to be sent."""

    pixels: bytes
    width: int
    height: int
    encoding: Encoding
    captured_ns: int
    clock: str | None


@dataclass(slots=True)
class Counts:
    """Frames that the pipeline took, and those that it did not."""

    taken: int = 0
    dropped: int = 0


class Uplink:
    """A DEALER socket. `run` owns it; the other methods may be called from any thread.

    Attributes:
        connected: Whether the pipeline takes frames of this program.
        closed: Whether `close` was called.
    """

    def __init__(self, endpoint: str, source: str, keys: ClientKeys | None) -> None:
        """Prepare a connection; `run` makes it, as soon as the other side is there."""
        self.counts = Counts()
        self.connected = False
        self.closed = False
        self._endpoint = endpoint
        self._source = source
        self._keys = keys
        self._lock = threading.Lock()
        self._waiting: WaitingFrame | None = None
        self._refusal: str | None = None
        self._idle = threading.Event()
        """Set while no frame waits or is on its way."""
        self._idle.set()
        self._stop = threading.Event()
        self._alarm, self._bell = socket.socketpair()
        for each in (self._alarm, self._bell):
            each.setblocking(False)
        self._seq = -1
        self._in_flight = False
        self._may_send = False
        self._ended = False
        """Whether ZeroMQ connects no more."""
        self._hello_s = math.inf

    def put(self, frame: WaitingFrame) -> str | None:
        """Let a frame wait in place of the one before, and return why the pipeline refused this program since then."""
        with self._lock:
            self.counts.dropped += self._waiting is not None
            self._waiting = frame
            self._idle.clear()
            refusal = self._refusal
            if not self._ended:
                self._refusal = None
        self._wake()
        return refusal

    def close(self, patience_s: float) -> None:
        """Let `run` end once the pipeline has taken the frame that waits, or after some seconds."""
        if not self.closed:
            self.closed = True
            self._idle.wait(patience_s)
            self._stop.set()
            self._wake()

    def run(self) -> None:
        """Connect, send frames and follow the answers until `close`."""
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.linger = _LINGER_MS
            dealer.immediate = True  # nothing waits for a connection that is not there
            dealer.maxmsgsize = FRAME_HEADER_BYTES
            dealer.reconnect_ivl, dealer.reconnect_ivl_max = _RECONNECT_MS, _LONGEST_RECONNECT_MS
            if self._keys is not None:
                self._keys.guard(dealer)
            events = dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _KEY_REFUSED)
            poller = zmq.Poller()
            for each in (dealer, events, self._alarm):
                poller.register(each, zmq.POLLIN)
            dealer.connect(self._endpoint)
            while not self._stop.is_set():
                poller.poll(_STEP_MS)
                self._silence()
                self._note_events(events)
                self._note_answers(dealer)
                self._send(dealer)
            self._send_signal(dealer, Bye(source=self._source))
            events.close()
        with self._lock:
            self.connected = False
            self.counts.dropped += (self._waiting is not None) + self._in_flight
            self._waiting = None
        self._alarm.close()
        self._bell.close()

    def _note_events(self, events: zmq.Socket[bytes]) -> None:
        for event, _ in waiting_events(events):
            self._lose()
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._hello_s = 0.0
            elif event != zmq.EVENT_DISCONNECTED:
                self._ended = True
                self._refuse("it does not admit this key; allow it there (sources.N.curve.allow), or check both keys")

    def _note_answers(self, dealer: zmq.Socket[bytes]) -> None:
        while True:
            try:
                parts = dealer.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            try:
                answer = read_from_pipeline([part.buffer for part in parts])
            except MessageError as error:
                self._refuse(f"it is of another version: {error}")
                continue
            if isinstance(answer, Next):
                self._grant(answer)
            else:
                self._lose()
                self._refuse(answer.reason)
                self._hello_s = time.monotonic() + _RETRY_S

    def _grant(self, answer: Next) -> None:
        with self._lock:
            self._may_send = self.connected = True
            if self._in_flight and answer.taken == str(self._seq):
                self.counts.taken += 1
                self._in_flight = False
                self._note_idle()

    def _lose(self) -> None:
        """The connection ended, or what was sent last is not used."""
        with self._lock:
            self.counts.dropped += self._in_flight
            self._in_flight = self._may_send = self.connected = False
            self._hello_s = math.inf
            self._note_idle()

    def _refuse(self, reason: str) -> None:
        with self._lock:
            self._refusal = reason

    def _send(self, dealer: zmq.Socket[bytes]) -> None:
        """Send what is due: `hello`, or the frame that waits."""
        if time.monotonic() >= self._hello_s and self._send_signal(dealer, Hello(source=self._source)):
            self._hello_s = math.inf
        with self._lock:
            frame = self._waiting
            if frame is None or not self._may_send:
                return
            self._waiting, self._may_send, self._in_flight = None, False, True
            self._seq += 1
        header = FrameHeader(
            source=self._source,
            seq=str(self._seq),
            width=frame.width,
            height=frame.height,
            encoding=frame.encoding,
            t_capture_ns=str(frame.captured_ns),
            clock=frame.clock,
        )
        try:
            dealer.send_multipart(encode_frame(header, frame.pixels), zmq.NOBLOCK, copy=False)
        except zmq.Again:  # the connection ended meanwhile
            self._lose()

    def _send_signal(self, dealer: zmq.Socket[bytes], message: Hello | Bye) -> bool:
        with suppress(zmq.Again):
            dealer.send_multipart(encode_signal(message), zmq.NOBLOCK)
            return True
        return False

    def _note_idle(self) -> None:
        if self._waiting is None and not self._in_flight:
            self._idle.set()

    def _wake(self) -> None:
        with suppress(OSError):  # it has been woken often enough, or has ended
            self._bell.send(b"!")

    def _silence(self) -> None:
        with suppress(OSError):
            self._alarm.recv(4096)
