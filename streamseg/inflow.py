"""Counts what arrives on a connection before its message is complete.

ZeroMQ limits the size of a part, but not the number of parts, and shows a message only when its last part is there.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

_RECEIVED = struct.Struct("=128xQ")
"""`tcpi_bytes_received` in Linux's `struct tcp_info`."""


class Inflow:
    """The bytes that a TCP connection of another library receives. It counts none on other systems and sockets."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._start: int | None = None

    def connected(self, descriptor: int) -> None:
        """A connection was made, whose socket stays that library's."""
        self._descriptor, self._start = descriptor, None

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
    with suppress(OSError, struct.error, AttributeError):  # closed meanwhile, an older kernel, another system
        borrowed = socket.socket(fileno=descriptor)
        try:
            (received,) = _RECEIVED.unpack(borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED.size))
            return int(received)
        finally:
            borrowed.detach()
    return 0
