from __future__ import annotations

import http.client
import re
import socket
import threading
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from support.pipeline_runs import until
from support.published_frames import published

from streamseg.errors import UsageError
from streamseg.monitor import metrics_server
from streamseg.monitor.metrics_server import CLIENTS, REQUEST_BYTES, MetricsServer
from streamseg.monitor.stats import RunStats

PATIENCE = 20.0


@pytest.fixture
def stats() -> RunStats:
    return RunStats((("capture", "main"), ("publish", "main")), ["main"])


def get(url: str) -> tuple[int, str]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.request("GET", address.path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def connect(server: MetricsServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=PATIENCE)


def is_closed(client: socket.socket) -> bool:
    try:
        while client.recv(4096):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize(("address", "host"), [("0", "127.0.0.1"), ("localhost:0", "localhost")])
def test_the_server_runs_until_its_context_ends(stats: RunStats, address: str, host: str) -> None:
    threads = threading.active_count()
    with MetricsServer(address, stats) as server:
        assert re.fullmatch(rf"http://{host}:[1-9]\d*/metrics", server.url)
        status, text = get(server.url)
        assert status == 200
        assert "streamseg_up 0.0" in text.splitlines()
        assert "python_info" not in text
        stats.published(published())
        assert 'streamseg_frames_published_total{source="main"} 1.0' in get(server.url)[1].splitlines()
    with pytest.raises(ConnectionRefusedError):
        get(server.url)
    assert threading.active_count() == threads


def test_an_idle_client_blocks_neither_others_nor_the_end(stats: RunStats) -> None:
    with MetricsServer("0", stats) as server, socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0)):
        assert get(server.url)[0] == 200


@pytest.mark.parametrize(
    "address", ["", "x", "127.0.0.1", ":9100", "[]:9100", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "::1:9100"]
)
def test_a_malformed_address(stats: RunStats, address: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--metrics: {address!r} is not an address; expected HOST:PORT")):
        MetricsServer(address, stats)


@pytest.mark.parametrize("host", ["192.0.2.1", f"{'x' * 64}.invalid"])
def test_an_address_of_no_interface_or_host(stats: RunStats, host: str) -> None:
    with pytest.raises(UsageError, match=f"--metrics: cannot listen on {host}:0 "):
        MetricsServer(f"{host}:0", stats, insecure=True)


def test_an_address_in_use(stats: RunStats) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        address = f"127.0.0.1:{foreign.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"--metrics: {address} is in use; end the program that listens there"):
            MetricsServer(address, stats)


def test_many_slow_clients_take_few_threads_and_keep_nobody_out(stats: RunStats) -> None:
    threads = threading.active_count()
    with MetricsServer("0", stats) as server, ExitStack() as opened:
        clients = [opened.enter_context(connect(server)) for _ in range(10 * CLIENTS)]
        clients[-1].sendall(b"GET /metrics HTTP/1.1\r\n")
        assert get(server.url)[0] == 200
        assert threading.active_count() <= threads + 1 + CLIENTS
        assert all(is_closed(client) for client in clients[: -2 * CLIENTS])
    until(lambda: threading.active_count() == threads, PATIENCE, "the end of the threads")


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\nHost: a"])
def test_a_slow_client_is_ended(stats: RunStats, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(metrics_server, "CLIENT_S", 0.1)
    with MetricsServer("0", stats) as server, connect(server) as client:
        client.sendall(sent)
        assert is_closed(client)


def test_a_request_without_an_end_is_not_read(stats: RunStats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "CLIENT_S", 600.0)
    with MetricsServer("0", stats) as server, connect(server) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nx: ".ljust(REQUEST_BYTES, b"x"))
        assert is_closed(client)


def test_a_client_that_goes_away_prints_nothing(
    stats: RunStats, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = threading.Event()

    def fail(*arguments: object) -> None:
        gone.set()
        raise ConnectionResetError

    monkeypatch.setattr(metrics_server._Request, "setup", fail)
    with MetricsServer("0", stats) as server, connect(server) as client:
        assert is_closed(client)
    assert gone.is_set()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_an_address_for_other_machines_needs_an_explicit_word(stats: RunStats, host: str) -> None:
    with pytest.raises(UsageError, match=r"^--metrics: .* is reachable from other machines .* --insecure"):
        MetricsServer(f"{host}:0", stats)


def test_with_that_word_other_machines_may_read(stats: RunStats) -> None:
    with MetricsServer("0.0.0.0:0", stats, insecure=True) as server:
        assert get(server.url.replace("0.0.0.0", "127.0.0.1"))[0] == 200
