"""The control socket of a hub without a process, with real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import zmq
from support import raw_zmtp
from support.pipeline_runs import free_endpoint, until
from support.results import EMPTY_RESULT
from support.stage_context import FakeContext, lane_spec, stage_config, stage_spec

from streamseg.ipc.stage_messages import Answer, Requested
from streamseg.sinks import control_socket
from streamseg.sinks.network import Network
from streamseg.stages.hub import HubStage
from streamseg.wire.limits import CONTROLLERS, READER_BYTES, REQUEST_BYTES
from streamseg.wire.protocol import decode, encode_result
from streamseg.wire.requests import (
    ChangedReply,
    ErrorReply,
    RemoveRequest,
    Reply,
    Request,
    SnapshotReply,
    SnapshotRequest,
    SourcesRequest,
    decode_reply,
    encode,
)

PATIENCE_S = 20.0
JPEG = b"a picture"


class Hub:
    """A hub with a control socket, and the network of its source as publish has it."""

    def __init__(self) -> None:
        self.endpoint = free_endpoint()
        config = stage_config("live", publish={"bind": free_endpoint()}, control={"bind": self.endpoint})
        self.context = FakeContext(stage_spec("hub", lane_spec("door"), config=config))
        self.stage = HubStage(self.context)
        self.stage.prepare()
        self.network = Network(self.context.sockets, self.context.spec.hub, "door", quality=80)
        self.context.watch(self.network.socket)

    def turn(self) -> None:
        self.stage.turn()
        self.network.service()

    def client(self) -> zmq.Socket[bytes]:
        socket = self.context.sockets.socket(zmq.DEALER)
        self.context.watch(socket)
        socket.connect(self.endpoint)
        return socket

    @property
    def requested(self) -> list[Requested]:
        """What the supervisor received."""
        return [report for report in self.context.reports if isinstance(report, Requested)]

    def reply(self, client: zmq.Socket[bytes]) -> tuple[Reply, list[bytes]]:
        """The next reply to a client."""

        def arrived() -> bool:
            self.turn()
            return bool(client.poll(0))

        until(arrived, PATIENCE_S, "a reply")
        first, *parts = client.recv_multipart()
        return decode_reply([first]), parts


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.context.close()


def wait_for_requests(hub: Hub, count: int) -> None:
    def arrived() -> bool:
        hub.turn()
        return len(hub.requested) >= count

    until(arrived, PATIENCE_S, f"{count} requests")


def test_a_request_reaches_the_supervisor_and_its_reply_the_program_that_sent_it(hub: Hub) -> None:
    first, second = hub.client(), hub.client()
    requests: list[Request] = [SourcesRequest(id="1"), RemoveRequest(id="1", source="yard")]
    for client, request in zip((first, second), requests, strict=True):
        client.send(encode(request))
    wait_for_requests(hub, 2)
    assert {each.request for each in hub.requested} == {encode(request) for request in requests}
    for each in hub.requested:
        error = ErrorReply(id="1", error="UsageError", message=each.request.decode())
        hub.stage.instruct(Answer(each.client, encode(error)))
    for client, request in zip((first, second), requests, strict=True):
        reply, _ = hub.reply(client)
        assert isinstance(reply, ErrorReply)
        assert reply.message == encode(request).decode()
    hub.stage.instruct(Answer(b"gone", encode(ErrorReply(id="1", error="UsageError", message=""))))


def test_a_snapshot_is_the_next_picture_which_is_made_only_for_it(hub: Hub) -> None:
    client = hub.client()
    client.send(encode(SnapshotRequest(id="a", source="door", view="overlay")))
    client.send(encode(SnapshotRequest(id="b", source="door", view="overlay")))

    def wanted() -> bool:
        hub.turn()
        return hub.network.wants("overlay")

    control = hub.stage._control
    assert control is not None
    until(lambda: wanted() and len(control._wanted) == 2, PATIENCE_S, "the subscription for both")
    for _ in range(20):
        hub.turn()
    message = replace(EMPTY_RESULT, run_id="r", seq=7, source="door", jpeg=JPEG)
    for view in ("masks", "overlay"):
        hub.network._send(encode_result(message, view).parts)
    for expected in "ab":
        reply, parts = hub.reply(client)
        assert reply == SnapshotReply(id=expected)
        assert decode(parts) == message
    until(lambda: not wanted(), PATIENCE_S, "the end of the subscription")


def test_a_snapshot_of_a_camera_that_shows_nothing_is_refused_in_time(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "_SNAPSHOT_S", 0.2)
    client = hub.client()
    client.send(encode(SnapshotRequest(id="a", source="door")))
    reply, _ = hub.reply(client)
    assert reply == ErrorReply(
        id="a", error="SourceError", message="door: no picture within 0.2 s; is the camera connected?"
    )


def test_a_snapshot_of_a_source_that_sends_no_results_is_refused_at_once(hub: Hub) -> None:
    client = hub.client()
    for each in "ab":
        client.send(encode(SnapshotRequest(id=each, source="door")))
    wait_for_requests(hub, 2)
    requested = {each.request: each.client for each in hub.requested}
    control = hub.stage._control
    assert control is not None
    for each, reply in (("a", SnapshotReply(id="a")), ("b", ErrorReply(id="b", error="SourceError", message="ended"))):
        hub.stage.instruct(Answer(requested[encode(SnapshotRequest(id=each, source="door"))], encode(reply)))
    assert hub.reply(client)[0] == ErrorReply(id="b", error="SourceError", message="ended")
    assert [wanted.request.id for wanted in control._wanted] == ["a"], "the other one is waited for"
    client.send(encode(SnapshotRequest(id="c", source="gate")))
    wait_for_requests(hub, 3)
    assert len(hub.stage._hub._own) == 2
    hub.stage.instruct(Answer(hub.requested[2].client, encode(ErrorReply(id="c", error="UsageError", message="no"))))
    assert hub.reply(client)[0] == ErrorReply(id="c", error="UsageError", message="no")
    assert len(hub.stage._hub._own) == 1, "nothing is left of what there is not"


def test_what_is_no_request_is_refused_and_the_next_one_is_taken(hub: Hub) -> None:
    client = hub.client()
    for parts in ([b""], [b"{}"], [b"\xff"], [b"[" * 9999], [b"{}", b"{}"]):
        client.send_multipart(parts)
        reply, _ = hub.reply(client)
        assert isinstance(reply, ErrorReply)
        assert (reply.id, reply.error) == ("", "MessageError")
    client.send(encode(SourcesRequest(id="1")))
    wait_for_requests(hub, 1)


def test_only_so_many_snapshots_are_waited_for(hub: Hub) -> None:
    client = hub.client()
    for number in range(control_socket._SNAPSHOTS + 1):
        client.send(encode(SnapshotRequest(id=str(number), source="door")))
    reply, _ = hub.reply(client)
    assert isinstance(reply, ErrorReply)
    assert reply.id == str(control_socket._SNAPSHOTS)
    assert "snapshots are waited for" in reply.message


def test_a_program_may_send_more_than_a_reader_as_long_as_its_requests_end(hub: Hub) -> None:
    client = hub.client()
    request = encode(SourcesRequest(id="1")).ljust(16_000)
    for number in range(2 * READER_BYTES // len(request)):
        client.send(request)
        wait_for_requests(hub, number + 1)
    hub.stage.instruct(Answer(hub.requested[0].client, encode(ChangedReply(id="1", changes=""))))
    assert hub.reply(client)[0] == ChangedReply(id="1", changes=""), "it is the same connection"


def test_nothing_is_counted_of_a_connection_that_has_ended(hub: Hub) -> None:
    client = hub.client()
    client.send(encode(SourcesRequest(id="1")))
    wait_for_requests(hub, 1)
    control = hub.stage._control
    assert control is not None
    inflows = control._connections._inflows
    assert len(inflows) == 1
    client.close(0)

    def forgotten() -> bool:
        hub.turn()
        return not inflows

    until(forgotten, PATIENCE_S, "the end of the connection")


@pytest.mark.parametrize("case", ["a part that is too long", "a request that does not end"])
def test_a_program_that_floods_the_hub_is_disconnected(hub: Hub, case: str) -> None:
    with raw_zmtp.connect(hub.endpoint) as peer:
        ready = b"\x05READY\x0bSocket-Type" + (6).to_bytes(4, "big") + b"DEALER"
        peer.sendall(raw_zmtp.GREETING + raw_zmtp.frame(ready, raw_zmtp.COMMAND))
        peer.setblocking(False)
        piece = (
            raw_zmtp.announced(REQUEST_BYTES + 1) + bytes(100)
            if case == "a part that is too long"
            else raw_zmtp.frame(bytes(1000), raw_zmtp.MORE)
        )

        def closed() -> bool:
            hub.turn()
            try:
                peer.send(piece)
                return peer.recv(4096) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        until(closed, PATIENCE_S, "the end of the connection")


def test_so_many_programs_are_connected_at_most(hub: Hub) -> None:
    clients = [hub.client() for _ in range(CONTROLLERS + 3)]
    for client in clients:
        client.send(encode(SourcesRequest(id="1")))
        hub.turn()
    wait_for_requests(hub, CONTROLLERS)
    assert hub.stage._control is not None
    assert len(hub.stage._control._connections) <= CONTROLLERS


def test_a_run_cannot_be_controlled_unless_its_settings_say_where() -> None:
    config = stage_config("live", publish={"bind": free_endpoint()})
    context = FakeContext(stage_spec("hub", lane_spec("door"), config=config))
    stage = HubStage(context)
    stage.prepare()
    assert stage._control is None
    stage.turn()
    context.close()
