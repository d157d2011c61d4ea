"""The hub without a process, with real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq
from support.pipeline_runs import free_endpoint, until
from support.stage_context import FakeContext, lane_spec, stage_config, stage_spec

from streamseg.client import Subscriber
from streamseg.ipc.stage_messages import Subscribers
from streamseg.messages import End
from streamseg.sinks.network import Network
from streamseg.stages.hub import HubStage
from streamseg.wire.protocol import View, topic

PATIENCE_S = 20


class TurningHub:
    """A hub of two sources, and the network of each as publish has it."""

    def __init__(self) -> None:
        self.endpoint = free_endpoint()
        config = stage_config("live", publish={"bind": self.endpoint})
        self.context = FakeContext(stage_spec("hub", lane_spec("door"), lane_spec("yard"), config=config))
        self.stage = HubStage(self.context)
        assert self.stage.prepare().detail == self.endpoint
        self.networks = {name: self.network(name) for name in ("door", "yard")}

    def network(self, source: str) -> Network:
        network = Network(self.context.sockets, self.context.spec.hub, source, quality=80)
        self.context.watch(network.socket)
        return network

    def turn(self) -> None:
        self.stage.turn()
        for network in self.networks.values():
            network.service()

    def counts(self) -> list[int]:
        """The numbers of subscribers that the supervisor received."""
        self.turn()
        return [report.count for report in self.context.reports if isinstance(report, Subscribers)]

    def wanted(self, view: View = "overlay") -> list[str]:
        """The sources of which somebody wants a view."""
        self.turn()
        return [name for name, network in self.networks.items() if network.wants(view)]

    def subscriber(self) -> zmq.Socket[bytes]:
        """A socket that subscribes by hand."""
        socket = self.context.sockets.socket(zmq.SUB)
        self.context.watch(socket)
        socket.connect(self.endpoint)
        return socket


@pytest.fixture
def hub() -> Iterator[TurningHub]:
    hub = TurningHub()
    yield hub
    hub.context.close()


def test_the_supervisor_is_told_of_each_change_of_the_number_of_subscribers(hub: TurningHub) -> None:
    assert hub.counts() == hub.counts() == [0], "a new process has none yet"
    subscriber = hub.subscriber()
    until(lambda: hub.counts() == [0, 1], PATIENCE_S, "the subscriber")
    subscriber.close(0)
    until(lambda: hub.counts() == [0, 1, 0], PATIENCE_S, "its end")


def test_a_view_is_wanted_while_anybody_subscribes_to_it(hub: TurningHub) -> None:
    first, second = hub.subscriber(), hub.subscriber()
    first.subscribe(topic("door", "overlay"))
    until(lambda: hub.wanted() == ["door"], PATIENCE_S, "the door")
    second.subscribe(topic("door", "overlay"))
    second.subscribe(b"streamseg/1/")
    until(lambda: hub.wanted("masks") == ["door", "yard"], PATIENCE_S, "everything without a picture")
    first.close(0)
    until(lambda: hub.counts()[-1] == 1, PATIENCE_S, "the end of the first")
    assert hub.wanted() == ["door"]
    second.unsubscribe(topic("door", "overlay"))
    until(lambda: hub.wanted() == [], PATIENCE_S, "nobody")
    assert hub.wanted("masks") == ["door", "yard"]


def test_a_publish_process_that_takes_over_knows_who_subscribes(hub: TurningHub) -> None:
    hub.subscriber().subscribe(topic("yard", "overlay"))
    until(lambda: hub.wanted() == ["yard"], PATIENCE_S, "the yard")
    hub.networks["yard"].socket.close(0)
    hub.networks["yard"] = hub.network("yard")
    until(lambda: hub.wanted() == ["yard"], PATIENCE_S, "the yard again")


def test_the_ends_of_all_sources_arrive_although_the_hub_stops(hub: TurningHub) -> None:
    ends = [End(run_id="a", source=name, seq=7, reason="end of file") for name in hub.networks]
    with Subscriber(hub.endpoint, timeout=PATIENCE_S) as subscriber:
        until(lambda: hub.wanted("state") == ["door", "yard"], PATIENCE_S, "both")
        for end, network in zip(ends, hub.networks.values(), strict=True):
            network.send_end(end)
            network.socket.close()
        hub.stage.close("end of file")
        assert [subscriber.receive() for _ in ends] == ends


def test_a_hub_that_ended_has_no_subscribers(hub: TurningHub) -> None:
    hub.subscriber().subscribe(topic("door", "overlay"))
    until(lambda: hub.wanted() == ["door"], PATIENCE_S, "the door")
    for socket in hub.stage._hub.sockets:
        socket.close(0)

    def wanted() -> bool:
        hub.networks["door"].service()
        return hub.networks["door"].wants("overlay")

    until(lambda: not wanted(), PATIENCE_S, "the end of the subscription")
