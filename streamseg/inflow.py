"""Counts what arrives on a connection before its message is complete.

ZeroMQ limits the size of a part, but not the number of parts, and shows a message only when its last part is there.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_RECEIVED = struct.Struct("=128xQ")
"""`tcpi_bytes_received` in Linux's `struct tcp_info`."""


class Inflow:
    """The bytes that a TCP connection of another library receives. It counts none on other systems and sockets."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._start: int | None = None

    def connected(self, descriptor: int, *, counts_all: bool = False) -> None:
        """A connection was made, whose socket stays that library's.

        Args:
            descriptor: Of the socket.
            counts_all: Whether to count also what arrived before the first count: no message is complete yet.
        """
        self._descriptor, self._start = descriptor, 0 if counts_all else None

    def disconnected(self) -> None:
        """The connection ended."""
        self._descriptor = None

    def completed(self) -> None:
        """A message is complete: the count starts again."""
        self._start = None

    def count(self) -> int:
        """Bytes that arrived since the first count after the last complete message."""
        received = 0 if self._descriptor is None else _received(self._descriptor)
        if self._start is None or received < self._start:
            self._start = received
        return received - self._start


def _received(descriptor: int) -> int:
    # It may be closed meanwhile, and older kernels and other systems do not count.
    with suppress(OSError, struct.error, AttributeError), borrowed(descriptor) as connection:
        (received,) = _RECEIVED.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED.size))
        return int(received)
    return 0


@contextmanager
def borrowed(descriptor: int) -> Iterator[socket.socket]:
    """A connection of another library, which stays open."""
    connection = socket.socket(fileno=descriptor)
    try:
        yield connection
    finally:
        connection.detach()
