"""The bytes that a connection receives, on real sockets."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from streamseg.inflow import Inflow

PATIENCE_S = 20.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts them")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as far:
        near, _ = server.accept()
        with near:
            yield near, far


def send(ends: tuple[socket.socket, socket.socket], count: int) -> None:
    """Send so many bytes, and wait until they have arrived."""
    near, far = ends
    far.sendall(bytes(count))
    received = 0
    near.settimeout(PATIENCE_S)
    while received < count:
        received += len(near.recv(count - received))


@pytest.mark.parametrize("counts_all", [False, True])
def test_what_arrives_counts_until_a_message_is_complete(
    ends: tuple[socket.socket, socket.socket], counts_all: bool
) -> None:
    inflow = Inflow()
    assert inflow.count() == 0
    send(ends, 100)
    inflow.connected(ends[0].fileno(), counts_all=counts_all)
    early = 100 if counts_all else 0
    assert inflow.count() == early
    send(ends, 30)
    assert inflow.count() == early + 30
    inflow.completed()
    send(ends, 5)
    assert inflow.count() == 0, "it may belong to the message that is complete"
    send(ends, 7)
    assert inflow.count() == 7
    assert ends[0].fileno() >= 0, "the connection stays open"
    ends[0].close()
    assert inflow.count() == 0, "it is no error"
