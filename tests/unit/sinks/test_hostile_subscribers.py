"""What strangers send to the publishing socket: garbage, floods, and connections that never end. Real sockets."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import zmq
from support import raw_zmtp
from support.pipeline_runs import free_endpoint, until
from support.raw_zmtp import CANCEL, COMMAND, GREETING, MORE, SUBSCRIBE, frame
from support.results import EMPTY_RESULT

from streamseg.client import Subscriber
from streamseg.config import CurveSettings, PublishSettings
from streamseg.sinks import connections
from streamseg.sinks.hub import Hub
from streamseg.sinks.network import Network
from streamseg.wire.curve import make_key_pair
from streamseg.wire.limits import READER_BYTES, READER_TOPICS, TOPIC_BYTES
from streamseg.wire.protocol import encode_result, topic

PATIENCE = 20.0
MASKS = topic("main", "masks")
GIGABYTE = 1 << 30
SUBSCRIPTION = frame(SUBSCRIBE + MASKS)


class Publisher:
    """Sends one result after the other through a hub, both served as their stages serve them."""

    def __init__(self, settings: PublishSettings, most: int = 256) -> None:
        self.endpoint = settings.bind
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._hub = Hub(self._context, settings, "inproc://hub", most=most)
        self._network = Network(self._context, "inproc://hub", "main", quality=80)
        self._stop = threading.Event()
        self.wants: tuple[bool, bool] = False, False
        """Whether `masks` and `overlay` have subscribers."""
        self.connected = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the publisher hangs"

    def _run(self) -> None:
        seq = 0
        while not self._stop.wait(0.002):
            self._hub.service()
            self._network.service()
            self.wants = self._network.wants("masks"), self._network.wants("overlay")
            self.connected = self._hub.connections()
            self._network.send_result(encode_result(replace(EMPTY_RESULT, seq=seq, source="main"), "masks"))
            seq += 1
        for each in (self._network.socket, *self._hub.sockets):
            each.close(0)
        self._context.term()


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def publisher(opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    monkeypatch.setattr(connections, "HANDSHAKE_S", 600)  # nothing ends for that reason
    return opened.enter_context(closing(Publisher(PublishSettings(bind=free_endpoint()))))


@pytest.fixture
def friend(opened: ExitStack, publisher: Publisher) -> Subscriber:
    friend = opened.enter_context(Subscriber(publisher.endpoint, source="main", timeout=PATIENCE))
    friend.receive()
    return friend


def check_served(friend: Subscriber) -> None:
    """Check that new results still arrive."""
    newest = friend.latest()
    until(lambda: (friend.latest() or EMPTY_RESULT).seq > (newest or EMPTY_RESULT).seq + 20, PATIENCE, "results")


def send_until_closed(peer: socket.socket, data: bytes) -> None:
    """Send again and again; fail if the other end keeps taking it."""
    deadline = time.monotonic() + PATIENCE
    with suppress(ConnectionError, TimeoutError):
        while time.monotonic() < deadline:
            peer.sendall(data)
        pytest.fail("the publisher takes everything")


def many(count: int, size: int) -> bytes:
    """So many different subscriptions of so many bytes."""
    return b"".join(frame(SUBSCRIBE + b"%d" % number + os.urandom(size)) for number in range(count))


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET /metrics HTTP/1.1\r\n\r\n", id="another protocol"),
        pytest.param(b"\x02\x00x", id="the oldest version, which has no greeting"),
        pytest.param(GREETING[:10] + b"\x01\x02", id="an old version"),
        pytest.param(GREETING + frame(os.urandom(200), COMMAND), id="garbage for a handshake"),
        pytest.param(GREETING + raw_zmtp.announced(GIGABYTE, COMMAND), id="a gigabyte of handshake"),
    ],
)
def test_garbage_ends_the_connection_before_the_handshake(
    publisher: Publisher, friend: Subscriber, opened: ExitStack, sent: bytes
) -> None:
    peer = opened.enter_context(raw_zmtp.connect(publisher.endpoint))
    peer.sendall(sent)
    assert raw_zmtp.is_closed(peer)
    check_served(friend)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(raw_zmtp.announced(64 << 20), id="a subscription of 64 MB"),
        pytest.param(raw_zmtp.announced(GIGABYTE, COMMAND), id="a command of a gigabyte"),
        pytest.param(frame(SUBSCRIBE + bytes(TOPIC_BYTES + 1)), id="a long subscription"),
        pytest.param(many(20_000, 12), id="20,000 subscriptions"),
        pytest.param(many(READER_TOPICS + 1, 4), id="one subscription too many"),
        pytest.param(frame(b"x", MORE) * READER_BYTES, id="a message without an end"),
        pytest.param(frame(b"\x04PING\x00\x00", COMMAND) * (READER_BYTES // 8), id="signs of life"),
    ],
)
def test_a_subscriber_that_exceeds_a_limit_is_disconnected(
    publisher: Publisher, friend: Subscriber, opened: ExitStack, sent: bytes
) -> None:
    peer = opened.enter_context(raw_zmtp.subscriber(publisher.endpoint))
    peer.sendall(frame(SUBSCRIBE + topic("main", "overlay")))
    until(lambda: publisher.wants == (True, True), PATIENCE, "the subscription to the overlay")
    with suppress(ConnectionError):
        peer.sendall(sent)
    assert raw_zmtp.is_closed(peer)
    until(lambda: publisher.wants == (True, False), PATIENCE, "the end of the subscription to the overlay")
    check_served(friend)


def test_without_a_key_nothing_large_is_accepted(
    tmp_path: Path, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_S", 600)
    secret, public = make_key_pair(tmp_path / "publisher")
    settings = PublishSettings(
        bind=free_endpoint(), curve=CurveSettings(secret_key_file=str(secret), allow=str(public))
    )
    publisher = opened.enter_context(closing(Publisher(settings)))
    peer = opened.enter_context(raw_zmtp.connect(publisher.endpoint))
    peer.sendall(GREETING.replace(b"NULL\0", b"CURVE") + raw_zmtp.announced(GIGABYTE, COMMAND))
    assert raw_zmtp.is_closed(peer)


def test_a_flood_waits_in_the_kernel(opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = psutil.Process().memory_info
    before = memory().rss
    peaks: list[int] = []
    receive = connections.Connections.receive

    def measure(self: connections.Connections, message: zmq.Frame) -> None:
        peaks.append(memory().rss)
        receive(self, message)

    monkeypatch.setattr(connections.Connections, "receive", measure)
    with zmq.Context() as context:
        hub = Hub(context, PublishSettings(bind=free_endpoint()), "inproc://hub")
        peer = opened.enter_context(raw_zmtp.subscriber(hub.socket.getsockopt_string(zmq.LAST_ENDPOINT)))
        flood = threading.Thread(target=send_until_closed, args=(peer, many(10_000, 900)))
        flood.start()
        until(lambda: hub.service() is None or not flood.is_alive(), PATIENCE, "the end of the flood")
        for each in hub.sockets:
            each.close(0)
    assert max(peaks) - before < 60_000_000


def test_nobody_cancels_the_subscription_of_another(
    publisher: Publisher, friend: Subscriber, opened: ExitStack
) -> None:
    peer = opened.enter_context(raw_zmtp.subscriber(publisher.endpoint))
    peer.sendall(frame(CANCEL + MASKS) + frame(SUBSCRIBE + topic("main", "overlay")))
    until(lambda: publisher.wants[1], PATIENCE, "the message behind the cancellation")
    assert publisher.wants == (True, True)
    check_served(friend)


def test_a_handshake_that_never_ends_is_ended(opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_S", 1)
    publisher = opened.enter_context(closing(Publisher(PublishSettings(bind=free_endpoint()))))
    silent, halfway = (opened.enter_context(raw_zmtp.connect(publisher.endpoint)) for _ in range(2))
    halfway.sendall(GREETING)
    assert raw_zmtp.is_closed(silent)
    assert raw_zmtp.is_closed(halfway)


def test_idle_connections_make_room_and_subscribers_stay(opened: ExitStack) -> None:
    publisher = opened.enter_context(closing(Publisher(PublishSettings(bind=free_endpoint()), most=4)))

    def subscribe() -> socket.socket:
        peer = opened.enter_context(raw_zmtp.subscriber(publisher.endpoint))
        peer.sendall(SUBSCRIPTION)
        assert MASKS in peer.recv(1 << 16)
        return peer

    first = subscribe()
    idle = [opened.enter_context(raw_zmtp.subscriber(publisher.endpoint)) for _ in range(4)]
    assert raw_zmtp.is_closed(idle[0])
    second = subscribe()
    assert raw_zmtp.is_closed(idle[1])
    subscribers = [first, second, subscribe(), subscribe()]
    late = opened.enter_context(raw_zmtp.connect(publisher.endpoint))
    assert raw_zmtp.is_closed(late)
    until(lambda: publisher.connected == 4, PATIENCE, "four connections")
    for peer in subscribers:
        assert not raw_zmtp.is_closed(peer, 0.05)


@pytest.mark.parametrize(
    ("limit", "sent"), [("TOPICS", many(15, 4)), ("READERS_BYTES", frame(b"x", MORE) * 10_000)]
)  # fmt: skip
def test_all_subscribers_together_have_a_limit(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch, limit: str, sent: bytes
) -> None:
    monkeypatch.setattr(connections, limit, {"TOPICS": 40, "READERS_BYTES": 80_000}[limit])
    publisher = opened.enter_context(closing(Publisher(PublishSettings(bind=free_endpoint()))))
    friend = opened.enter_context(Subscriber(publisher.endpoint, source="main", timeout=PATIENCE))
    friend.receive()
    peers = [opened.enter_context(raw_zmtp.subscriber(publisher.endpoint)) for _ in range(3)]
    for peer in peers:
        peer.sendall(sent)
    until(lambda: any(raw_zmtp.is_closed(peer, 0.05) for peer in peers), PATIENCE, "the end of one of them")
    check_served(friend)
