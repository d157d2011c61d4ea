"""The links that bring results to the loop over a pipeline, without a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
import zmq
from support.pipeline_runs import until
from support.results import EMPTY_RESULT

from streamseg.ipc.links import LinkAddress, LinkSender, link_address
from streamseg.taps import Taps
from streamseg.topology import TAP
from streamseg.wire.protocol import encode_result

PATIENCE_S = 20.0
KEY = b"k" * 16


class Sources:
    """The far ends of the links of two sources, and the taps."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.links = [
            LinkAddress("publish", TAP, name, link_address(folder, f"{name}.sock"), "newest")
            for name in ("door", "yard")
        ]
        self.taps = opened.enter_context(closing(Taps(KEY)))
        context = opened.enter_context(zmq.Context())
        self.senders: dict[str, LinkSender[list[bytes]]] = {
            link.source: opened.enter_context(closing(LinkSender(context, link.address, KEY, link.policy)))
            for link in self.links
        }

    def receive(self, wait_ms: int = 0) -> list[tuple[str, int]]:
        """Source and number of each result of one round."""
        return [(message.source, int(message.seq)) for message, _ in self.taps.receive(self.links, wait_ms)]

    def wait_for_credit(self) -> None:
        """Wait until each source may send a result."""

        def granted() -> bool:
            assert self.receive() == []
            return all(sender.credit for sender in self.senders.values())

        until(granted, PATIENCE_S, "credit for both")

    def arrived(self) -> bool:
        """Whether a result of each source is there."""
        return all(tap.receiver.socket.poll(0) for tap in self.taps._taps.values())

    def send(self, source: str, seq: int) -> None:
        message = replace(EMPTY_RESULT, run_id="a", source=source, seq=seq)
        self.senders[source].send(encode_result(message, "masks").parts)


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Sources]:
    with ExitStack() as opened:
        yield Sources(tmp_path, opened)


@pytest.mark.parametrize("source", ["door", "yard"])
def test_a_result_of_any_source_ends_the_wait(sources: Sources, source: str) -> None:
    sources.wait_for_credit()
    with ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(sources.receive, int(3 * PATIENCE_S * 1000))
        sources.send(source, 5)
        assert waiting.result(PATIENCE_S) == [(source, 5)]


def test_a_round_has_one_result_of_each_source_however_many_one_has(sources: Sources) -> None:
    for seq in range(3):
        sources.wait_for_credit()
        for name in ("door", "door", "yard", "door"):
            sources.send(name, seq)
        until(sources.arrived, PATIENCE_S, "both results")
        assert sources.receive() == [("door", seq), ("yard", seq)]
