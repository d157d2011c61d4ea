"""The sinks of the network and the hub, with real sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zmq
from support.pipeline_runs import free_endpoint, until
from support.stage_context import FakeContext, put_frame, stage_spec

from streamseg.config import CurveSettings, PublishSettings
from streamseg.errors import EndpointInUseError, SettingsError
from streamseg.messages import Dropped, End, Image, Models, ResultMessage, Timings
from streamseg.sinks.hub import Hub
from streamseg.sinks.network import MaskSink, Network, PictureSink
from streamseg.sinks.sink import Overlay, Pictures, PublishedResult
from streamseg.wire.curve import make_key_pair, read_client_keys
from streamseg.wire.protocol import View, decode, encode_result, topic

PATIENCE_MS = 20_000


def connected(hub: Hub) -> int:
    hub.service()
    return hub.connections()


@dataclass
class Wire:
    """Publish's socket, the hub, and a subscriber that subscribes by hand."""

    network: Network
    hub: Hub
    subscriber: zmq.Socket[bytes]
    drawn: int = 0

    def subscribe(self, view: View, *, cancel: bool = False) -> None:
        self.subscriber.send((b"\x00" if cancel else b"\x01") + topic("main", view))
        self.serve_until(view, wanted=not cancel)

    def serve_until(self, view: View, *, wanted: bool) -> None:
        def served() -> bool:
            self.hub.service()
            self.network.service()
            return self.network.wants(view) == wanted

        until(served, PATIENCE_MS / 1000, f"{view}: {wanted}")

    def arrived(self, within_s: float = PATIENCE_MS / 1000) -> bool:
        deadline = time.monotonic() + within_s
        while not self.subscriber.poll(1):
            self.hub.service()
            if time.monotonic() > deadline:
                return False
        return True

    def received(self) -> tuple[bytes, ResultMessage]:
        assert self.arrived()
        parts = self.subscriber.recv_multipart()
        message = decode(parts)
        assert isinstance(message, ResultMessage)
        return parts[0], message

    def pictures(self) -> Pictures:
        def draw(image: Image) -> Overlay:
            self.drawn += 1
            return Overlay(255 - image, 31.0)

        return Pictures(np.zeros((48, 64, 3), np.uint8), draw)


@pytest.fixture
def wire() -> Iterator[Wire]:
    endpoint = free_endpoint()
    with zmq.Context() as context, context.socket(zmq.XSUB) as subscriber:
        hub = Hub(context, PublishSettings(bind=endpoint), "inproc://hub")
        network = Network(context, "inproc://hub", "main", quality=80)
        subscriber.linger = 0
        subscriber.connect(endpoint)
        yield Wire(network, hub, subscriber)
        for socket in (network.socket, *hub.sockets):
            socket.close(0)


@pytest.fixture
def published() -> PublishedResult:
    result = ResultMessage(
        run_id="a", epoch=0, seq=7, source="main", width=64, height=48, pts_ns=0, t_capture_unix_ns=0,
        timings=Timings(published=20.0), dropped=Dropped(), models=Models(detector="motion", segmenter="nano"),
        boxes_seq=None, objects=(),
    )  # fmt: skip
    frame = put_frame(FakeContext(stage_spec("publish")), 7)
    return PublishedResult(frame, result, encode_result(result, "masks"), 20.0, None)


def test_only_a_message_that_cancels_ends_a_subscription(wire: Wire) -> None:
    wire.subscribe("masks")
    wire.subscriber.send(b"\x02" + topic("main", "masks"))
    wire.subscriber.send(topic("main", "masks"))
    wire.subscribe("state")  # arrives behind the two others
    assert wire.network.wants("masks")
    wire.subscribe("masks", cancel=True)


def test_a_view_without_a_subscriber_costs_nothing(wire: Wire, published: PublishedResult) -> None:
    wire.subscribe("masks")
    masks, pictures = MaskSink(wire.network), PictureSink(wire.network)
    assert not pictures.wants()
    shown = wire.pictures()
    for sink in (masks, pictures):
        sink.write(published, shown)
    first, result = wire.received()
    assert (first, result.seq, result.jpeg) == (topic("main", "masks"), 7, None)
    assert wire.drawn == 0
    assert not wire.arrived(0.05)


def test_masks_are_sent_before_the_overlay_is_drawn(wire: Wire, published: PublishedResult) -> None:
    wire.subscribe("masks")
    wire.subscribe("overlay")
    masks, pictures = MaskSink(wire.network), PictureSink(wire.network)
    assert pictures.wants()
    shown = wire.pictures()
    masks.write(published, shown)
    assert wire.received()[1].timings == Timings(published=20.0)
    assert wire.drawn == 0
    pictures.write(published, shown)
    first, result = wire.received()
    assert first == topic("main", "overlay")
    assert result.timings == Timings(rendered=31.0, published=31.0)
    assert result.jpeg is not None
    assert wire.drawn == 1


def test_pictures_that_were_not_read_are_not_sent(wire: Wire, published: PublishedResult) -> None:
    wire.subscribe("clean")
    PictureSink(wire.network).write(published, Pictures(None, lambda image: Overlay(image, 0.0)))
    assert not wire.arrived(0.05)


def test_every_subscriber_gets_the_end(wire: Wire) -> None:
    wire.subscribe("state")
    MaskSink(wire.network).close(End(run_id="a", source="main", seq=7, reason="end of file"))
    assert wire.arrived()
    assert isinstance(decode(wire.subscriber.recv_multipart()), End)


def test_programs_are_counted_while_they_are_connected_whatever_they_subscribe_to(wire: Wire) -> None:
    until(lambda: connected(wire.hub) == 1, PATIENCE_MS / 1000, "the first")
    wire.subscribe("masks")
    wire.subscribe("state")
    with zmq.Context() as context, context.socket(zmq.SUB) as other:
        other.connect(wire.hub.socket.getsockopt_string(zmq.LAST_ENDPOINT))
        until(lambda: connected(wire.hub) == 2, PATIENCE_MS / 1000, "the second")
    until(lambda: connected(wire.hub) == 1, PATIENCE_MS / 1000, "the end of the second")


def test_a_program_that_is_not_admitted_does_not_count(tmp_path: Path) -> None:
    (secret, public), (stranger, _) = make_key_pair(tmp_path / "publisher"), make_key_pair(tmp_path / "stranger")
    curve = CurveSettings(secret_key_file=str(secret), allow=str(public))
    with zmq.Context() as context, zmq.Context() as others, others.socket(zmq.SUB) as other:
        hub = Hub(context, PublishSettings(bind=free_endpoint(), curve=curve), "inproc://hub")
        keys = read_client_keys(stranger, public)
        other.linger, other.curve_secretkey, other.curve_serverkey = 0, keys.secret, keys.server
        other.curve_publickey = zmq.curve_public(keys.secret)
        refused = other.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        other.connect(hub.socket.getsockopt_string(zmq.LAST_ENDPOINT))

        def is_refused() -> bool:
            hub.service()
            return bool(refused.poll(10))

        until(is_refused, PATIENCE_MS / 1000, "the refusal")
        until(lambda: connected(hub) == 0, PATIENCE_MS / 1000, "the end of the connection")
        for socket in (refused, *hub.sockets):
            socket.close(0)


@pytest.mark.parametrize("connect", [None, "tcp://no port"])
def test_a_hub_that_fails_closes_its_sockets_as_an_open_one_blocks_the_end_of_the_stage(
    tmp_path: Path, connect: str | None
) -> None:
    secret, public = make_key_pair(tmp_path / "publisher")
    bind = free_endpoint()
    curve = CurveSettings(secret_key_file=str(secret), allow=str(public))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with zmq.Context() as others, others.socket(zmq.XPUB) as other:
        if connect is None:
            other.bind(bind)
        with pytest.raises((EndpointInUseError, SettingsError)) as caught:
            Hub(context, PublishSettings(bind=bind, connect=connect, curve=curve), "inproc://hub")
    ending = threading.Thread(target=context.term, daemon=True)
    ending.start()
    ending.join(PATIENCE_MS / 1000)
    assert not ending.is_alive(), caught.value
