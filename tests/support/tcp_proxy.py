"""A TCP proxy that misbehaves on demand, to stand between a client and a real server."""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType
from typing import Self

from support.rtp import KeyframeFilter

CHUNK = 65536


class TcpProxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target`, until `damage`, `stall`, `cut` or `refuse`.

    With `keyframes=False` it drops those of an RTSP camera.

    `accepted` counts the connections so far.
    """

    def __init__(self, target: int, *, keyframes: bool = True) -> None:
        self.target = target
        self.accepted = 0
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = threading.Event()
        self._damaged_every = 0
        self._filter = None if keyframes else KeyframeFilter()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._listener: socket.socket | None = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="tcp-proxy")
        self._thread.start()

    def damage(self, every: int) -> None:
        """Change one byte of so many that go to a client, whatever it means; 0 changes none."""
        self._damaged_every = every

    def stall(self) -> None:
        """Keep every connection open and forward nothing."""
        self._flowing.clear()

    def resume(self) -> None:
        """Forward again, held-back data first."""
        self._flowing.set()

    def cut(self) -> None:
        """Close every connection; new ones are still accepted."""
        with self._lock:
            for end in self._pairs:
                end.close()
            self._pairs.clear()

    def refuse(self) -> None:
        """Close every connection and refuse new ones."""
        with self._lock:
            if self._listener is not None:
                self._listener.close()
                self._listener = None
        self.cut()

    def accept(self) -> None:
        """Accept again on the same port after `refuse`."""
        with self._lock:
            self._listener = socket.create_server(("127.0.0.1", self.port))

    def close(self) -> None:
        """End the proxy with all its connections."""
        self._closed.set()
        self._flowing.set()
        self._thread.join()
        self.refuse()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._flowing.wait()
            with self._lock, selectors.DefaultSelector() as selector:
                for readable in [*self._pairs, *([self._listener] if self._listener else [])]:
                    selector.register(readable, selectors.EVENT_READ)
                ready = [key.fileobj for key, _ in selector.select(0.01)] if selector.get_map() else []
                for end in ready:
                    assert isinstance(end, socket.socket)
                    self._serve(end)
            if not ready:
                self._closed.wait(0.002)

    def _serve(self, end: socket.socket) -> None:
        if end is self._listener:
            client, _ = end.accept()
            self.accepted += 1
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                client.close()
                return
            self._pairs.update({client: server, server: client})
        elif end in self._pairs:
            try:
                data = end.recv(CHUNK)
                if data:
                    self._pairs[end].sendall(self._changed(data) if end.getpeername()[1] == self.target else data)
            except OSError:
                data = b""
            if not data:
                other = self._pairs.pop(end)
                del self._pairs[other]
                end.close()
                other.close()

    def _changed(self, data: bytes) -> bytes:
        changed = bytearray(data if self._filter is None else self._filter.pass_on(data))
        if self._damaged_every:
            for place in range(self._damaged_every // 2, len(changed), self._damaged_every):
                changed[place] ^= 0x55
        return bytes(changed)
