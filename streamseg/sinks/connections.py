"""Counts the connections of a publishing socket."""

from __future__ import annotations

import zmq
from zmq.utils.monitor import parse_monitor_message


class Connections:
    """The open connections of a socket: its subscribers, and its proxy if it has one.

    Subscriptions do not count them: a subscriber has several.

    Attributes:
        socket: Reports each connection; readable when one opens or ends.
    """

    def __init__(self, observed: zmq.Socket[bytes]) -> None:
        self.socket = observed.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED)
        self._open: set[int] = set()

    def count(self) -> int:
        """How many are open now."""
        while self.socket.poll(0):
            event = parse_monitor_message(self.socket.recv_multipart())
            if event["event"] == zmq.EVENT_DISCONNECTED:
                self._open.discard(event["value"])
            else:
                self._open.add(event["value"])
        return len(self._open)
