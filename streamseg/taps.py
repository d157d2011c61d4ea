"""The near ends of the links that bring the results of all sources to the loop over a `Pipeline`."""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from streamseg.ipc.frame_memory import SharedFrames
from streamseg.ipc.links import LinkAddress, LinkReceiver
from streamseg.messages import ResultMessage
from streamseg.topology import TAP
from streamseg.wire.protocol import decode


class Tap:
    """The results of one source, and its frames."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], link: LinkAddress, key: bytes) -> None:
        self.receiver: LinkReceiver[list[bytes]] = LinkReceiver(context, link.address, key, link.policy, list[bytes])
        self.frames = SharedFrames()
        self._last_seq = -1

    def receive(self) -> ResultMessage | None:
        """The next result, or None if none has arrived."""
        while (parts := self.receiver.receive()) is not None:
            message = decode(parts)
            assert isinstance(message, ResultMessage)
            if message.seq > self._last_seq:  # a publish process that took over may repeat the last one
                self._last_seq = message.seq
                return message
        return None

    def close(self) -> None:
        """Close the link and unmap the frames."""
        self.receiver.close()
        self.frames.close()


class Taps:
    """A tap for each source, as sources are added and removed."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._taps: dict[str, Tap] = {}

    def receive(self, links: Sequence[LinkAddress], wait_ms: int) -> list[tuple[ResultMessage, SharedFrames]]:
        """The results that arrive within some milliseconds, at most one of each source, and its frames.

        Args:
            links: All of the run at this moment.
            wait_ms: For the first one.
        """
        self._follow(links)
        poller = zmq.Poller()
        for tap in self._taps.values():
            tap.receiver.grant()
            poller.register(tap.receiver.socket, zmq.POLLIN)
        poller.poll(wait_ms)
        received = [(tap.receive(), tap.frames) for tap in self._taps.values()]
        return [(message, frames) for message, frames in received if message is not None]

    def close(self) -> None:
        """Close every tap."""
        for tap in self._taps.values():
            tap.close()
        self._context.term()

    def _follow(self, links: Sequence[LinkAddress]) -> None:
        present = {link.address: link for link in links if link.receiver == TAP}
        for address in self._taps.keys() - present.keys():
            self._taps.pop(address).close()
        for address, link in present.items():
            if address not in self._taps:
                self._taps[address] = Tap(self._context, link, self._key)
