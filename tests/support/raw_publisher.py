"""A publisher that speaks ZMTP 3.0 (ZeroMQ RFC 23) itself, to send what ZeroMQ never would."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 4) + b"XPUB"
MORE, LONG, COMMAND = 1, 2, 4


class RawPublisher:
    """One connection of a subscriber."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send_unfinished(self, part: bytes, count: int) -> None:
        """Send a part so many times, each with the promise of another; stops if the subscriber disconnects."""
        frame = struct.pack(">BQ", MORE | LONG, len(part)) + part
        try:
            for _ in range(count):
                self._connection.sendall(frame)
        except OSError:
            return

    def wait_for_end(self) -> None:
        """Wait until the subscriber disconnects; TimeoutError if it does not."""
        try:
            while self._connection.recv(4096):
                pass
        except ConnectionError:
            return


@contextmanager
def accepted(listener: socket.socket, patience: float) -> Iterator[RawPublisher]:
    """The next connection, after the handshake; each later step may take so many seconds."""
    listener.settimeout(patience)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(patience)
        connection.sendall(GREETING + bytes((COMMAND, len(READY))) + READY)
        yield RawPublisher(connection)
