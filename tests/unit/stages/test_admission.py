"""The publishing socket with keys: real sockets on loopback ports."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import zmq
from pipeline_runs import free_endpoint, until
from zmq.utils.monitor import recv_monitor_message

from streamseg.client import Subscriber
from streamseg.config import Config, CurveSettings, PublishSettings, SourceSettings
from streamseg.errors import SettingsError, SubscriptionTimeoutError, UsageError
from streamseg.keys import admit_window, make_key_pair
from streamseg.messages import Dropped, Ledger, Models, Result
from streamseg.stages.admission import Admission
from streamseg.stages.broadcast import Broadcast
from streamseg.wire.curve import read_client_keys, read_server_keys
from streamseg.wire.protocol import encode_result

PATIENCE = 20.0
PATIENCE_MS = 20_000
MANY = 200


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with the pairs of a publisher, of somebody who is allowed, and of somebody who is not."""
    for name in ("publisher", "friend", "stranger"):
        make_key_pair(tmp_path / name)
    return tmp_path


def curve(keys: Path, *allow: str) -> CurveSettings:
    return CurveSettings(
        secret_key_file=str(keys / "publisher.key"), allow=tuple(str(keys / f"{name}.pub") for name in allow or ("friend",))
    )


class Publisher:
    """A broadcast that sends result after result, served as the stage serves it."""

    def __init__(self, settings: PublishSettings) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._broadcast = Broadcast(self._context, settings, "main")
        self._stop = threading.Event()
        self.wanted = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """End as a stage ends: every socket, then the context; what hangs fails."""
        self._stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the sockets' end hangs"

    def _run(self) -> None:
        seq = 0
        while not self._stop.wait(0.002):
            self._broadcast.service()
            self.wanted = self._broadcast.wants("masks")
            self._broadcast.send_result(encode_result(result(seq), "masks"), None, None)
            seq += 1
        for socket in self._broadcast.sockets:
            socket.close()
        self._context.term()


@contextmanager
def publisher(settings: PublishSettings) -> Iterator[Publisher]:
    made = Publisher(settings)
    try:
        yield made
    finally:
        made.close()


def result(seq: int) -> Result:
    return Result(
        run_id="a", epoch=0, seq=seq, source="main", width=64, height=48, pts_ns=0, t_capture_unix_ns=0, ledger=Ledger(),
        dropped=Dropped(), models=Models(detector="motion", segmenter="grabcut"), boxes_seq=None, objects=(),
    )  # fmt: skip


class Knocks:
    """Counts how often a subscriber's connection was made: more than once, where it was turned away."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._socket = subscriber._socket
        self._events = self._socket.get_monitor_socket(zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self.connected = self.succeeded = 0

    def count(self) -> int:
        while self._events.poll(0):
            event = recv_monitor_message(self._events)["event"]
            self.connected += event == zmq.EVENT_CONNECTED
            self.succeeded += event == zmq.EVENT_HANDSHAKE_SUCCEEDED
        return self.connected

    def close(self) -> None:
        self._socket.disable_monitor()
        self._events.close()


def check_shut_out(subscribers: Sequence[Subscriber], meanwhile: Callable[[], object]) -> None:
    """Every one knocks again and again, and hears nothing."""
    for subscriber in subscribers:
        knocks = Knocks(subscriber)

        def turned_away(knocks: Knocks = knocks) -> bool:
            meanwhile()
            return knocks.count() > 2

        try:
            until(turned_away, PATIENCE, "another knock")
            assert knocks.succeeded == 0
        finally:
            knocks.close()
        with pytest.raises(SubscriptionTimeoutError):
            subscriber.receive(0)


def test_only_an_allowed_key_receives(keys: Path, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = free_endpoint()
    pairs = {
        "wrong key": (keys / "stranger.key", keys / "publisher.pub"),
        "no key": (None, None),
        "wrong server key": (keys / "friend.key", keys / "stranger.pub"),
    }
    with caplog.at_level(logging.WARNING), ExitStack() as stack:
        stack.enter_context(publisher(PublishSettings(bind=endpoint, curve=curve(keys))))
        shut_out = [
            stack.enter_context(Subscriber(endpoint, secret_key_file=own, server_key_file=theirs)) for own, theirs in pairs.values()
        ]
        friend = stack.enter_context(
            Subscriber(endpoint, timeout=PATIENCE, secret_key_file=keys / "friend.key", server_key_file=str(keys / "publisher.pub"))
        )
        for seq, _ in zip(range(MANY), friend, strict=False):
            assert seq < MANY
        check_shut_out(shut_out, friend.latest)
        with pytest.raises(SubscriptionTimeoutError, match="each other's key"):
            shut_out[0].latest(0)
    (line,) = caplog.messages
    stranger = read_client_keys(keys / "stranger.key", keys / "stranger.pub")
    assert f"its key {stranger.server.decode()} is not in publish.curve.allow" in line
    assert stranger.secret.decode() not in line


def test_an_open_publisher_gives_nothing_to_who_expects_a_guarded_one(keys: Path) -> None:
    endpoint = free_endpoint()
    with (
        publisher(PublishSettings(bind=endpoint)),
        Subscriber(endpoint, secret_key_file=keys / "friend.key", server_key_file=keys / "publisher.pub") as careful,
        Subscriber(endpoint, timeout=PATIENCE) as careless,
    ):
        check_shut_out([careful], careless.latest)


def test_nobody_is_let_in_while_nobody_answers(keys: Path) -> None:
    endpoint = free_endpoint()
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.linger = 0
        admission = Admission(context, read_server_keys(str(keys / "publisher.key"), [str(keys / "friend.pub")]))
        admission.guard(socket)
        admission.socket.close()
        socket.bind(endpoint)
        with Subscriber(endpoint, secret_key_file=keys / "friend.key", server_key_file=keys / "publisher.pub") as friend:
            check_shut_out([friend], lambda: None)
        assert not socket.poll(0)


def test_it_ends_while_somebody_waits_for_an_answer(keys: Path) -> None:
    endpoint = free_endpoint()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    broadcast = Broadcast(context, PublishSettings(bind=endpoint, curve=curve(keys)), "main")
    with Subscriber(endpoint, secret_key_file=keys / "friend.key", server_key_file=keys / "publisher.pub"):
        (_, questions) = broadcast.sockets
        assert questions.poll(PATIENCE_MS)

        def end() -> None:
            for socket in broadcast.sockets:
                socket.close()
            context.term()

        ending = threading.Thread(target=end, daemon=True)
        ending.start()
        ending.join(PATIENCE)
        assert not ending.is_alive(), "the sockets' end hangs"


@contextmanager
def proxy(bind: str, secret_key_file: Path, server_key_file: Path) -> Iterator[zmq.Socket[bytes]]:
    """An XSUB socket that subscribes to everything, as a proxy has it."""
    keys = read_client_keys(secret_key_file, server_key_file)
    with zmq.Context() as context, context.socket(zmq.XSUB) as socket:
        socket.linger = 0
        socket.curve_secretkey, socket.curve_serverkey = keys.secret, keys.server
        socket.curve_publickey = zmq.curve_public(keys.secret)
        socket.bind(bind)
        socket.send(b"\x01streamseg/1/")
        yield socket


def test_a_proxy_is_a_subscriber_that_is_connected_to(keys: Path) -> None:
    theirs = free_endpoint()
    settings = PublishSettings(bind=free_endpoint(), connect=theirs, curve=curve(keys))
    with publisher(settings) as made:
        for _ in range(2):
            with proxy(theirs, keys / "friend.key", keys / "publisher.pub") as socket:
                assert socket.poll(PATIENCE_MS)
                assert socket.recv_multipart()[0] == b"streamseg/1/main/masks"
                assert made.wanted
            until(lambda: not made.wanted, PATIENCE, "the end of the proxy's subscriptions")
        with proxy(theirs, keys / "stranger.key", keys / "publisher.pub") as socket:
            assert not socket.poll(500)
            assert not made.wanted


def test_the_window_beside_a_run_is_let_in_and_its_keys_vanish(keys: Path) -> None:
    settings = PublishSettings(bind=free_endpoint(), curve=curve(keys))
    with admit_window(Config(sources=(SourceSettings(url="0"),), publish=settings)) as (config, options):
        (own, theirs) = options[1::2]
        assert options[::2] == ("--secret-key-file", "--server-key-file")
        for name, server in (((keys / "friend.key"), keys / "publisher.pub"), (own, theirs)):
            with publisher(config.publish), Subscriber(
                settings.bind, timeout=PATIENCE, secret_key_file=name, server_key_file=server
            ) as subscriber:  # fmt: skip
                assert subscriber.latest() is not None
    assert not Path(own).exists()
    assert not Path(theirs).exists()
    with admit_window(Config(sources=(SourceSettings(url="0"),))) as (config, options):
        assert (config.publish, options) == (PublishSettings(), ())


def test_a_subscriber_needs_both_keys_or_none(keys: Path) -> None:
    with pytest.raises(UsageError, match="server_key_file: missing"):
        Subscriber(secret_key_file=keys / "friend.key")
    with pytest.raises(UsageError, match=r"^secret_key_file: missing"):
        Subscriber(server_key_file=keys / "publisher.pub")
    with pytest.raises(SettingsError, match=r"gone cannot be read"):
        Subscriber(secret_key_file=keys / "friend.key", server_key_file=keys / "gone")
