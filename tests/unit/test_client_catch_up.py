"""A subscriber that was away, with a clock and a link of the test's own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import pytest
from support.results import EMPTY_RESULT

from streamseg import client, subscription
from streamseg.client import Subscriber
from streamseg.messages import Heartbeat, Timings
from streamseg.subscription import Deadline
from streamseg.wire.protocol import encode_event, encode_result

AWAY_S = 90.0


@dataclass
class Link:
    """Messages with the times at which they arrive. Waiting moves the clock."""

    arrivals: list[tuple[float, list[bytes]]]
    now_s: float = 0.0
    refused: bool = field(default=False, init=False)

    def monotonic(self) -> float:
        return self.now_s

    def arrived(self, within_ms: int = 0) -> bool:
        return bool(self.arrivals) and self.arrivals[0][0] <= self.now_s

    def receive(self) -> list[bytes]:
        return self.arrivals.pop(0)[1]

    def wait(self, deadline: Deadline) -> None:
        left_ms = deadline.milliseconds()
        arrives_s = max(self.now_s, self.arrivals[0][0]) if self.arrivals else math.inf
        self.now_s = min(arrives_s, math.inf if left_ms is None else self.now_s + left_ms / 1000)

    def close(self) -> None:
        """There is nothing to close."""


def sent(at_s: float) -> list[bytes]:
    """A result of a live source; its `seq` is the tenth of a second at which it was sent."""
    result = replace(EMPTY_RESULT, run_id="a", source="cam", mode="live", seq=round(10 * at_s))
    return encode_result(replace(result, t_capture_unix_ns=round((1000 + at_s) * 1e9)), "masks").parts


def drained(first_s: float, step_s: float, advance_s: float) -> list[tuple[float, list[bytes]]]:
    """Old results that full buffers held since the reader went away, and the new ones after them."""
    old = [(first_s + step_s * index, sent(1 + advance_s * index)) for index in range(20)]
    end_s = old[-1][0]
    return [*old, *((end_s + index / 10, sent(end_s + index / 10)) for index in range(1, 6))]


def subscriber(monkeypatch: pytest.MonkeyPatch, link: Link, timeout: float | None = None) -> Subscriber:
    monkeypatch.setattr(client, "Subscription", lambda *_: link)
    monkeypatch.setattr(client, "time", link)
    monkeypatch.setattr(subscription, "time", link)
    return Subscriber(source="cam", timeout=timeout)


def after_first(reader: Subscriber, link: Link, now_s: float) -> None:
    """Take the result that arrives at once, then be away."""
    assert next(iter(reader)).seq == 0
    link.now_s = now_s


@pytest.mark.parametrize("back_s", [AWAY_S, 1.0], ids=["the reader was away", "the link was away"])
@pytest.mark.parametrize("newest", [False, True])
def test_old_results_are_not_used_while_slow_buffers_are_drained(
    monkeypatch: pytest.MonkeyPatch, newest: bool, back_s: float
) -> None:
    link = Link([(0.0, sent(0)), *drained(AWAY_S, 0.3, 4.0)])
    reader = subscriber(monkeypatch, link)
    after_first(reader, link, back_s)
    result = reader.latest() if newest else next(iter(reader))
    assert result is not None
    assert result.seq > 10 * (AWAY_S + 5)
    assert reader.lag_ms < 100


def test_a_clock_that_was_set_back_costs_one_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    later = [(1 + index / 10, sent(-3600 + index / 10)) for index in range(2000)]
    link = Link([(0.0, sent(0)), *((at_s, replace_seq(parts, 1 + index)) for index, (at_s, parts) in enumerate(later))])
    reader = subscriber(monkeypatch, link)
    after_first(reader, link, 1.0)
    next(iter(reader))
    assert link.now_s == pytest.approx(1 + client._NEWER_S)
    for _ in range(50):
        before_s = link.now_s
        next(iter(reader))
        assert link.now_s - before_s < 0.11


@pytest.mark.parametrize("published_ms", [1e18, 1e22, 1e308])
def test_a_time_out_of_the_world_costs_one_wait(monkeypatch: pytest.MonkeyPatch, published_ms: float) -> None:
    result = replace(EMPTY_RESULT, run_id="a", source="cam", mode="live", timings=Timings(published=published_ms))
    link = Link([(0.0, encode_result(result, "masks").parts), *((at / 10, sent(at / 10)) for at in range(1, 200))])
    reader = iter(subscriber(monkeypatch, link))
    assert next(reader).timings.published == published_ms
    assert [next(reader).seq for _ in range(10)] == list(range(1, 11))
    assert link.now_s == pytest.approx(1.0)


def replace_seq(parts: list[bytes], seq: int) -> list[bytes]:
    """The same result as another frame."""
    head, tail = parts[1].split(b'"seq":"', 1)
    return [parts[0], head + b'"seq":"' + str(seq).encode() + tail[tail.index(b'"') :], *parts[2:]]


def test_the_time_out_of_the_program_ends_the_wait_and_the_next_one_continues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = Link([(0.0, sent(0)), *drained(AWAY_S, 0.3, 4.0)])
    reader = subscriber(monkeypatch, link, timeout=2.0)
    after_first(reader, link, AWAY_S)
    old = next(iter(reader))
    assert old.seq < 10 * AWAY_S
    assert link.now_s < AWAY_S + 3
    while (result := next(iter(reader))).seq < 10 * (AWAY_S + 5):
        assert link.now_s < AWAY_S + 10
    assert result.seq > old.seq


def test_a_heartbeat_is_not_delayed_while_a_camera_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    beat = encode_event(Heartbeat(run_id="a", source="cam", seq=0, t_unix_ns=1))
    link = Link([(0.0, sent(0)), (60.0, beat)])
    reader = subscriber(monkeypatch, link)
    after_first(reader, link, 1.0)
    assert isinstance(reader.receive(), Heartbeat)
    assert link.now_s == 60.0
