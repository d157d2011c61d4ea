"""Reads what the monitor of a ZeroMQ socket reports about its connections. pyzmq's reader imports asyncio."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import zmq

_EVENT: Final = struct.Struct("=Hi")


def waiting_events(monitor: zmq.Socket[bytes]) -> Iterator[tuple[int, int]]:
    """Yield the events that have arrived, each with its value: of a connection, the descriptor."""
    while True:
        try:
            data, *_ = monitor.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        event, value = _EVENT.unpack(data)
        yield event, value
