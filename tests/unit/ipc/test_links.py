from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from streamseg.errors import StageError
from streamseg.ipc import links
from streamseg.ipc.links import LinkReceiver, LinkSender, Policy, link_address

Context = zmq.Context[zmq.Socket[bytes]]
KEY = b"k" * 16


class Ends:
    """Makes ends of one link, and closes them all."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._context: Context = zmq.Context()
        self._made: list[LinkSender[int] | LinkReceiver[int]] = []

    def sender(self, policy: Policy, key: bytes = KEY) -> LinkSender[int]:
        sender: LinkSender[int] = LinkSender(self._context, self.address, key, policy)
        self._made.append(sender)
        return sender

    def receiver(self, policy: Policy) -> LinkReceiver[int]:
        receiver: LinkReceiver[int] = LinkReceiver(self._context, self.address, KEY, policy, int)
        self._made.append(receiver)
        return receiver

    def both(self, policy: Policy) -> tuple[LinkSender[int], LinkReceiver[int]]:
        return self.sender(policy), self.receiver(policy)

    def close(self) -> None:
        for end in self._made:
            end.socket.close(0)
        self._context.term()


@pytest.fixture(params=["ipc", "tcp"])
def ends(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    """A link on a system with Unix sockets, and on one without."""
    if request.param == "tcp":
        monkeypatch.setattr(zmq, "has", lambda feature: False)
    address = link_address(tmp_path, "link")
    assert address.startswith(request.param)
    made = Ends(address)
    yield made
    made.close()


def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.001)


def quiet(sender: LinkSender[int], receiver: LinkReceiver[int]) -> bool:
    """Whether nothing arrives for a while although the sender does what it can."""
    deadline = time.monotonic() + 0.2
    while time.monotonic() < deadline:
        sender.service()
        if receiver.receive() is not None:
            return False
        time.sleep(0.001)
    return True


def receive(sender: LinkSender[int], receiver: LinkReceiver[int], *, grant: bool = True) -> int:
    got: list[int] = []

    def turn() -> bool:
        sender.service()
        if grant:
            receiver.grant()
        message = receiver.receive()
        if message is not None:
            got.append(message)
        return bool(got)

    until(turn)
    return got[0]


def test_ordered_keeps_everything_in_order(ends: Ends) -> None:
    sender, receiver = ends.both("ordered")
    for number in range(200):
        sender.send(number)
    assert [receive(sender, receiver) for _ in range(200)] == list(range(200))
    assert sender.replaced == 0


def test_newest_sends_nothing_without_credit(ends: Ends) -> None:
    sender, receiver = ends.both("newest")
    sender.send(0)
    assert quiet(sender, receiver)
    assert receive(sender, receiver) == 0


def test_newest_replaces_what_waits_and_counts_it(ends: Ends) -> None:
    sender, receiver = ends.both("newest")
    for number in range(10):
        sender.send(number)
    assert receive(sender, receiver) == 9
    assert sender.replaced == 9


def test_newest_sends_a_message_that_replaces_nothing_behind_the_one_that_waits(ends: Ends) -> None:
    sender, receiver = ends.both("newest")
    for number in range(3):
        sender.send(number)
    sender.send(9, replace=False)
    assert [receive(sender, receiver) for _ in range(2)] == [2, 9]
    assert sender.replaced == 2


def test_one_credit_is_one_message(ends: Ends) -> None:
    sender, receiver = ends.both("newest")
    receiver_granted = receive_credit(sender, receiver)
    assert receiver_granted
    sender.send(1)
    sender.send(2)
    assert receive(sender, receiver, grant=False) == 1
    assert quiet(sender, receiver)
    assert receive(sender, receiver) == 2


def receive_credit(sender: LinkSender[int], receiver: LinkReceiver[int]) -> bool:
    def granted() -> bool:
        receiver.grant()
        return sender.credit

    until(granted)
    return sender.credit


def test_a_new_sender_gets_the_credit_that_the_old_one_took_with_it(ends: Ends) -> None:
    sender, receiver = ends.both("newest")
    receive_credit(sender, receiver)
    sender.socket.close(0)
    successor = ends.sender("newest")
    successor.send(5)
    assert receive(successor, receiver) == 5


def test_a_new_receiver_gets_messages_after_the_old_one_died(ends: Ends) -> None:
    """Messages in flight to the old one are lost, as with a killed process; later ones arrive."""
    sender, receiver = ends.both("newest")
    sender.send(1)
    assert receive(sender, receiver) == 1
    receiver.grant()
    receiver.close()
    successors: list[LinkReceiver[int]] = []

    def bound() -> bool:  # within one process ZeroMQ gives a TCP port back a moment after `close`
        with contextlib.suppress(StageError):
            successors.append(ends.receiver("newest"))
        return bool(successors)

    until(bound)
    sent = 1
    arrived: list[int] = []

    def served() -> bool:
        nonlocal sent
        sent += 1
        sender.send(sent)
        successors[0].grant()
        message = successors[0].receive()
        if message is not None:
            arrived.append(message)
        return bool(arrived)

    until(served)
    assert 1 < arrived[0] <= sent


def test_a_foreign_key_is_ignored(ends: Ends) -> None:
    sender, receiver = ends.both("ordered")
    stranger = ends.sender("ordered", b"x" * 16)
    stranger.send(666)

    def sent() -> bool:
        stranger.service()
        return not stranger._waiting

    until(sent)
    sender.send(1)
    assert receive(sender, receiver) == 1


def test_a_lost_credit_gets_a_new_number(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_RENEW_NS", 20_000_000)
    sender, receiver = ends.both("newest")
    receive_credit(sender, receiver)
    sender._spent, sender._credit = sender._credit, None  # as if the message it allowed had died on the way
    sender.send(8)
    assert receive(sender, receiver) == 8
