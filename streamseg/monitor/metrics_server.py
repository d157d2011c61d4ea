"""An HTTP server for metrics, with few clients, each for a short time."""

from __future__ import annotations

import errno
import io
import logging
import socket
import threading
import time
from contextlib import suppress
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from streamseg.endpoints import is_loopback
from streamseg.errors import UsageError
from streamseg.monitor.prometheus import StatsCollector

if TYPE_CHECKING:
    from streamseg.monitor.stats import RunStats

_log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
CLIENTS: Final = 16
"""Connections at a time. One more ends the oldest."""
CLIENT_S: Final = 5.0
"""Seconds after which a connection is ended."""
REQUEST_BYTES: Final = 16 * 1024
"""Bytes of a request that are read."""


class MetricsServer:
    """An HTTP server for the metrics of a run. Leaving the context stops it.

    Args:
        address: `HOST:PORT`, or a port on 127.0.0.1. Port 0 takes a free port.
        stats: The figures of the run.
        insecure: Allow an address that other machines can reach.

    Attributes:
        collector: Turns the figures into metrics.
        url: Address of the metrics.

    Raises:
        UsageError: The address is malformed, in use, not one of this machine, or reachable and not `insecure`.
    """

    def __init__(self, address: str, stats: RunStats, *, insecure: bool = False) -> None:
        host, port = _parse(address)
        if not (insecure or is_loopback(host)):
            raise UsageError(
                f"--metrics: {address} is reachable from other machines without keys; expected a loopback address, or "
                "--insecure (publish.insecure=true) to let anyone read"
            )
        registry = CollectorRegistry()
        self.collector = StatsCollector(stats)
        registry.register(self.collector)
        try:
            self._server = _Server(host, port)
        except (OSError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise UsageError(
                    f"--metrics: {address} is in use; end the program that listens there, or choose another port"
                ) from error
            reason = error.strerror if isinstance(error, OSError) else "not a host name"
            raise UsageError(
                f"--metrics: cannot listen on {address} ({reason}); expected an address of this machine"
            ) from error
        self._server.set_app(make_wsgi_app(registry))
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self._server.server_port}/metrics"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Request(WSGIRequestHandler):
    """One request; a connection has no other."""

    def setup(self) -> None:
        """Read the request, or its beginning if it is long. Nobody waits for a body: only GET has a meaning."""
        super().setup()
        received = b""
        while b"\n\r\n" not in received and len(received) < REQUEST_BYTES and (data := self.connection.recv(4096)):
            received += data
        self.rfile.close()
        self.rfile = io.BufferedReader(io.BytesIO(received))

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    """Serves each client in a thread of its own, and ends those that are slow."""

    daemon_threads = True
    request_queue_size = 128  # of connections that wait to be accepted

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self._room = threading.BoundedSemaphore(CLIENTS)
        self._lock = threading.Lock()
        self._began_s: dict[socket.socket, float] = {}
        super().__init__((host, port), _Request)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a client."""
        if not self._room.acquire(blocking=False):
            self._end(1)
            self._room.acquire()
        with self._lock:
            self._began_s[request] = time.monotonic()
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        """Close the connection of a client whose thread ends."""
        with self._lock:
            served = self._began_s.pop(request, None) is not None
        super().close_request(request)
        if served:
            self._room.release()

    def service_actions(self) -> None:
        """End clients that have had their time; called twice a second."""
        with self._lock:
            overdue = sum(began_s < time.monotonic() - CLIENT_S for began_s in self._began_s.values())
        self._end(overdue)

    def server_close(self) -> None:
        """Stop listening and end every client."""
        super().server_close()
        self._end(CLIENTS)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of the run."""
        _log.debug("the metrics were not sent", exc_info=True)

    def _end(self, count: int) -> None:
        """End the oldest connections; their threads then close them."""
        with self._lock:
            for connection in list(self._began_s)[:count]:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def _parse(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if (
        not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) < 2**16)
        or (colon and not bare)
        or (":" in bare and not bracketed)
    ):
        raise UsageError(
            f"--metrics: {address!r} is not an address; expected HOST:PORT, such as 127.0.0.1:9100, or a port"
        )
    return bare or _LOOPBACK, int(port)
