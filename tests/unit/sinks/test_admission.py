"""The publishing socket with keys: real sockets on loopback ports."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq
from support.open_files import open_files_limited_to
from support.pipeline_runs import free_endpoint, until
from support.results import EMPTY_RESULT
from zmq.utils.monitor import parse_monitor_message, recv_monitor_message

from streamseg.client import Subscriber
from streamseg.config import Config, CurveSettings, PublishSettings, RunSource
from streamseg.errors import SettingsError, SubscriptionRefusedError, SubscriptionTimeoutError, UsageError
from streamseg.keys import admit_window
from streamseg.messages import ResultMessage
from streamseg.redaction import redact
from streamseg.sinks.hub import Hub
from streamseg.sinks.network import Network
from streamseg.wire.curve import Admission, make_key_pair, read_client_keys, read_server_keys
from streamseg.wire.protocol import encode_result

PATIENCE = 20.0
PATIENCE_MS = 20_000
ZAP = "inproc://zeromq.zap.01"
"""Where ZeroMQ looks for who decides about keys (RFC 27)."""
MANY, TOO_MANY = 200, 5000
CONNECTIONS = 4


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with the key pairs of a publisher, of an allowed subscriber (friend) and of another one (stranger)."""
    for name in ("publisher", "friend", "stranger"):
        make_key_pair(tmp_path / name)
    return tmp_path


def curve(keys: Path, *allow: str) -> CurveSettings:
    return CurveSettings(
        secret_key_file=str(keys / "publisher.key"),
        allow=tuple(str(keys / f"{name}.pub") for name in allow or ("friend",)),
    )


class CountedEvents:
    """Counts the connections of a publishing socket, and how many of them it admitted. A socket has one monitor."""

    def __init__(self, hub: Hub) -> None:
        connections: Any = hub._connections
        connections.monitor.close()
        hub.socket.monitor(
            "inproc://events",
            zmq.EVENT_ACCEPTED | zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED,
        )
        self._monitor: zmq.Socket[bytes] = hub.socket.context.socket(zmq.PAIR)
        self._monitor.connect("inproc://events")
        self.close = self._monitor.close
        self.connections = self.admitted = 0
        connections.monitor = self

    def recv_multipart(self, flags: int) -> list[bytes]:
        """The next event that the hub knows."""
        while True:
            parts = self._monitor.recv_multipart(flags)
            event = parse_monitor_message(parts)["event"]
            self.connections += event == zmq.EVENT_ACCEPTED
            if event != zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return parts
            self.admitted += 1


class Publisher:
    """Sends one result after the other through a hub, both served as their stages serve them."""

    def __init__(self, settings: PublishSettings) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._hub = Hub(self._context, settings, "inproc://hub")
        self._network = Network(self._context, "inproc://hub", "main", quality=80)
        self.events = CountedEvents(self._hub)
        self._stop = threading.Event()
        self.wanted = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Close as a stage does: every socket, then the context. Fails where that hangs."""
        self._stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "closing the sockets hangs"

    def _run(self) -> None:
        seq = 0
        while not self._stop.wait(0.002):
            self._hub.service()
            self._network.service()
            self.wanted = self._network.wants("masks")
            self._network.send_result(encode_result(result(seq), "masks"))
            seq += 1
        for socket in (self._network.socket, *self._hub.sockets):
            socket.close()
        self._context.term()


@contextmanager
def publisher(settings: PublishSettings) -> Iterator[Publisher]:
    made = Publisher(settings)
    try:
        yield made
    finally:
        made.close()


def result(seq: int) -> ResultMessage:
    return replace(EMPTY_RESULT, run_id="a", seq=seq, source="main")


def check_refused(refused: Subscriber, friend: Subscriber, made: Publisher) -> bool:
    """Check that a subscriber reconnects in vain while a friend receives; return whether it got an explicit refusal."""
    explicit = False
    for received, _ in enumerate(friend):
        try:
            refused.receive(0)
            pytest.fail("a refused subscriber received a message")
        except SubscriptionRefusedError:
            explicit = True
        except SubscriptionTimeoutError:
            assert not explicit
        if received >= MANY and (explicit or made.events.connections >= CONNECTIONS):
            assert made.events.admitted == 1
            return explicit
        assert received < TOO_MANY, "the refused subscriber never connected"
    pytest.fail("the friend's results ended")


@pytest.mark.parametrize(
    ("own", "server", "explicit"),  # None: depends on which side first sees the mismatch
    [("stranger.key", "publisher.pub", True), ("friend.key", "stranger.pub", False), (None, None, None)],
    ids=["wrong key", "wrong server key", "no key"],
)
def test_only_an_allowed_key_receives(
    keys: Path, own: str | None, server: str | None, explicit: bool | None, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = free_endpoint()
    with (
        caplog.at_level(logging.WARNING),
        publisher(PublishSettings(bind=endpoint, curve=curve(keys))) as made,
        Subscriber(endpoint, secret_key_file=own and keys / own, server_key_file=server and keys / server) as refused,
        Subscriber(
            endpoint, timeout=PATIENCE, secret_key_file=keys / "friend.key", server_key_file=str(keys / "publisher.pub")
        ) as friend,
    ):
        was_explicit = check_refused(refused, friend, made)
        assert was_explicit == explicit or explicit is None
    if own == "stranger.key":
        stranger = read_client_keys(keys / "stranger.key", keys / "stranger.pub")
        (line,) = caplog.messages
        shown = stranger.server.decode().translate(str.maketrans("@:%=", "????"))
        assert f"its key {shown} is not in publish.curve.allow" in redact(line)
        assert stranger.secret.decode() not in line
    else:
        assert not caplog.messages


def test_a_subscriber_with_keys_accepts_nothing_from_a_publisher_without(keys: Path) -> None:
    endpoint = free_endpoint()
    with (
        publisher(PublishSettings(bind=endpoint)) as made,
        Subscriber(endpoint, secret_key_file=keys / "friend.key", server_key_file=keys / "publisher.pub") as careful,
        Subscriber(endpoint, timeout=PATIENCE) as careless,
    ):
        check_refused(careful, careless, made)


def test_a_refused_subscriber_gets_an_error_of_one_line_each_time(keys: Path) -> None:
    endpoint = free_endpoint()
    own, theirs = keys / "stranger.key", keys / "publisher.pub"
    with (
        publisher(PublishSettings(bind=endpoint, curve=curve(keys))),
        Subscriber(endpoint, timeout=PATIENCE, secret_key_file=own, server_key_file=theirs) as stranger,
    ):

        async def iterate() -> None:
            async for _ in stranger:
                pytest.fail("a refused subscriber received a result")

        for wait in (lambda: asyncio.run(iterate()), stranger.latest, lambda: next(iter(stranger))):
            with pytest.raises(SubscriptionRefusedError) as caught:
                wait()
            assert str(caught.value).startswith(f"{endpoint} ")
            assert "publish.curve.allow" in str(caught.value)
            assert "\n" not in str(caught.value)


def test_no_subscriber_is_admitted_before_its_key_is_checked(keys: Path) -> None:
    endpoint = free_endpoint()
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.linger = 0
        admission = Admission(context, read_server_keys(str(keys / "publisher.key"), [str(keys / "friend.pub")]))
        admission.guard(socket)
        admission.socket.unbind(ZAP)  # at once, where close() leaves it to another thread
        admission.socket.close()
        with socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL) as events:
            socket.bind(endpoint)
            with Subscriber(endpoint, secret_key_file=keys / "friend.key", server_key_file=keys / "publisher.pub"):
                assert events.poll(PATIENCE_MS)
                assert recv_monitor_message(events)["event"] == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
                assert not socket.poll(0)
            socket.close()


def test_a_key_is_checked_also_when_no_file_can_be_opened(keys: Path) -> None:
    endpoint = free_endpoint()
    with (
        zmq.Context() as context,
        Subscriber(endpoint, secret_key_file=keys / "friend.key", server_key_file=keys / "publisher.pub"),
    ):
        hub = Hub(context, PublishSettings(bind=endpoint, curve=curve(keys)), "inproc://hub")
        *_, requests = hub.sockets
        assert requests.poll(PATIENCE_MS)
        with open_files_limited_to(3):
            hub.service()
        network = Network(context, "inproc://hub", "main", quality=80)

        def served() -> bool:
            hub.service()
            network.service()
            return network.wants("state")

        until(served, PATIENCE, "the subscription")
        for each in (network.socket, *hub.sockets):
            each.close(0)


def test_closing_does_not_hang_while_a_key_waits_to_be_checked(keys: Path) -> None:
    endpoint = free_endpoint()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    hub = Hub(context, PublishSettings(bind=endpoint, curve=curve(keys)), "inproc://hub")
    with Subscriber(endpoint, secret_key_file=keys / "friend.key", server_key_file=keys / "publisher.pub"):
        *_, requests = hub.sockets
        assert requests.poll(PATIENCE_MS)

        def close() -> None:
            for socket in hub.sockets:
                socket.close()
            context.term()

        closing = threading.Thread(target=close, daemon=True)
        closing.start()
        closing.join(PATIENCE)
        assert not closing.is_alive(), "closing the sockets hangs"


@contextmanager
def proxy(secret_key_file: Path, server_key_file: Path) -> Iterator[zmq.Socket[bytes]]:
    """The XSUB socket of a proxy, subscribed to everything."""
    keys = read_client_keys(secret_key_file, server_key_file)
    with zmq.Context() as context, context.socket(zmq.XSUB) as socket:
        socket.linger = 0
        socket.curve_secretkey, socket.curve_serverkey = keys.secret, keys.server
        socket.curve_publickey = zmq.curve_public(keys.secret)
        socket.send(b"\x01streamseg/1/")
        yield socket


def test_a_proxy_needs_a_key_like_any_other_subscriber(keys: Path) -> None:
    endpoint = free_endpoint()
    with publisher(PublishSettings(bind=free_endpoint(), connect=endpoint, curve=curve(keys))) as made:
        with (
            proxy(keys / "stranger.key", keys / "publisher.pub") as socket,
            socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH) as refusals,
        ):
            socket.bind(endpoint)
            assert refusals.poll(PATIENCE_MS)
            assert not socket.poll(0)
            socket.close()
        for _ in range(2):
            with proxy(keys / "friend.key", keys / "publisher.pub") as socket:
                socket.bind(endpoint)
                assert socket.poll(PATIENCE_MS)
                assert socket.recv_multipart()[0] == b"streamseg/1/main/masks"
            until(lambda: not made.wanted, PATIENCE, "the end of the proxy's subscriptions")


def test_the_window_of_a_run_is_admitted_and_its_keys_are_removed(keys: Path) -> None:
    settings = PublishSettings(bind=free_endpoint(), curve=curve(keys))
    with admit_window(Config(sources=(RunSource(url="0"),), publish=settings)) as (config, options):
        (own, theirs) = options[1::2]
        assert options[::2] == ("--secret-key-file", "--server-key-file")
        for name, server in (((keys / "friend.key"), keys / "publisher.pub"), (own, theirs)):
            with publisher(config.publish), Subscriber(
                settings.bind, timeout=PATIENCE, secret_key_file=name, server_key_file=server
            ) as subscriber:  # fmt: skip
                assert subscriber.latest() is not None
    assert not Path(own).exists()
    assert not Path(theirs).exists()
    with admit_window(Config(sources=(RunSource(url="0"),))) as (config, options):
        assert (config.publish, options) == (PublishSettings(), ())


def test_a_subscriber_needs_both_keys_or_none(keys: Path) -> None:
    with pytest.raises(UsageError, match="server_key_file: missing"):
        Subscriber(secret_key_file=keys / "friend.key")
    with pytest.raises(UsageError, match=r"^secret_key_file: missing"):
        Subscriber(server_key_file=keys / "publisher.pub")
    with pytest.raises(SettingsError, match=r"gone cannot be read"):
        Subscriber(secret_key_file=keys / "friend.key", server_key_file=keys / "gone")
