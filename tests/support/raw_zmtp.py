"""A ZeroMQ peer written by hand (ZMTP 3.0): it sends what no library would send."""

from __future__ import annotations

import socket
import struct
import time

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
SUBSCRIBE, CANCEL = b"\x01", b"\x00"
MORE, COMMAND = 1, 4
_LONG = 2


def frame(body: bytes, flags: int = 0) -> bytes:
    """One frame of the protocol."""
    if len(body) > 255:
        return struct.pack(">BQ", flags | _LONG, len(body)) + body
    return struct.pack(">BB", flags, len(body)) + body


def handshake(kind: bytes) -> bytes:
    """Of a socket of that kind."""
    return GREETING + frame(b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind, COMMAND)


HANDSHAKE = handshake(b"SUB")


def announced(size: int, flags: int = 0) -> bytes:
    """The beginning of a frame of so many bytes, which never come."""
    return struct.pack(">BQ", flags | _LONG, size)


def connect(endpoint: str) -> socket.socket:
    """A connection to a `tcp://` endpoint, before the handshake."""
    host, port = endpoint.removeprefix("tcp://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def subscriber(endpoint: str) -> socket.socket:
    """A connection that finished the handshake as a SUB socket."""
    peer = connect(endpoint)
    peer.sendall(HANDSHAKE)
    received = b""
    while len(received) < len(GREETING) or b"READY" not in received:
        received += peer.recv(4096)
    return peer


def is_closed(peer: socket.socket, within_s: float = 20.0) -> bool:
    """Whether the publisher closes the connection in time; what it sends before is dropped."""
    deadline = time.monotonic() + within_s
    peer.settimeout(within_s)
    try:
        while peer.recv(1 << 16):
            if time.monotonic() > deadline:
                return False
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True
