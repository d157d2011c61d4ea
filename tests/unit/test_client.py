from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zmq
from support.raw_publisher import accepted
from support.results import EMPTY_RESULT

from streamseg import client
from streamseg.client import Subscriber
from streamseg.errors import SubscriptionTimeoutError, UsageError
from streamseg.messages import SOURCE_REMOVED, End, Heartbeat, SourceState
from streamseg.result import Result
from streamseg.wire.curve import make_key_pair, read_client_keys
from streamseg.wire.limits import PART_BYTES, SOURCES
from streamseg.wire.protocol import ResultView, encode_event, encode_result, topic

PATIENCE = 20.0


class Publisher:
    """An XPUB socket on a loopback port, as the pipeline has one."""

    def __init__(self, endpoint: str = "tcp://127.0.0.1:0", secret_key: bytes | None = None) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        if secret_key is not None:
            self._socket.curve_server = True
            self._socket.curve_secretkey = secret_key
        self._socket.linger = 0
        self._socket.sndhwm = 10_000
        self._socket.bind(endpoint)
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.subscriptions: set[bytes] = set()

    def wait_for(self, *topics: bytes) -> None:
        """Wait until every topic is subscribed to."""
        deadline = time.monotonic() + PATIENCE
        while not self.subscriptions.issuperset(topics):
            assert time.monotonic() < deadline, f"only {self.subscriptions}"
            self.take_changes(wait=PATIENCE)

    def wait_for_exactly(self, *topics: bytes) -> None:
        """Wait until these topics are subscribed to, and no others."""
        deadline = time.monotonic() + PATIENCE
        while self.subscriptions != set(topics):
            assert time.monotonic() < deadline, f"{self.subscriptions}"
            self.take_changes(wait=0.2)

    def take_changes(self, wait: float) -> None:
        """Note what was subscribed to or no longer is."""
        while self._socket.poll(int(wait * 1000)):
            change = self._socket.recv()
            (self.subscriptions.add if change[0] else self.subscriptions.discard)(change[1:])
            wait = 0

    def send(self, *messages: list[bytes]) -> None:
        for parts in messages:
            self._socket.send_multipart(parts)

    def close(self) -> None:
        self._socket.close()
        self._context.term()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    made = Publisher()
    yield made
    made.close()


CAM = (b"streamseg/1/cam/masks", b"streamseg/1/cam/state")


def result(seq: int, *, run_id: str = "a", source: str = "cam", **changes: Any) -> Result:
    return Result.of(replace(EMPTY_RESULT, run_id=run_id, epoch=1, seq=seq, source=source, **changes), "masks")


def sent(seq: int, *, view: ResultView = "masks", **changes: Any) -> list[bytes]:
    return encode_result(result(seq, **changes), view).parts


def end(run_id: str = "a", source: str = "cam") -> list[bytes]:
    return encode_event(End(run_id=run_id, source=source, seq=None, reason="done"))


def heartbeat(source: str = "cam") -> list[bytes]:
    return encode_event(Heartbeat(run_id="a", source=source, seq=0, t_unix_ns=1))


def test_iterating_gives_every_result_in_order_until_the_end(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber:
        publisher.wait_for(*CAM)
        assert publisher.subscriptions == set(CAM)
        state = SourceState(run_id="a", source="cam", stage="source", state="running")
        publisher.send(encode_event(state), *(sent(seq) for seq in range(20)), heartbeat(), sent(20), end())
        assert [item.seq for item in subscriber] == list(range(21))


def test_another_run_follows_on_the_same_subscriber(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber:
        publisher.wait_for(*CAM)
        publisher.send(sent(7), end(), sent(3, run_id="b"), sent(4, run_id="b"), end("b"))
        assert [item.seq for item in subscriber] == [7]
        assert [(item.seq, item.gap) for item in subscriber] == [(3, 0), (4, 0)]


def test_messages_yields_every_kind(publisher: Publisher) -> None:
    state = SourceState(run_id="a", source="cam", stage="source", state="disconnected", detail="gone")
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber:
        publisher.wait_for(*CAM)
        publisher.send(heartbeat(), sent(0), encode_event(state), end(), heartbeat())
        messages = list(subscriber.messages())
        assert [type(message) for message in messages] == [Heartbeat, Result, SourceState, End]
        assert messages[2] == state
        assert isinstance(subscriber.receive(), Heartbeat)


def test_a_gap_is_visible_and_a_new_run_has_none(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber:
        publisher.wait_for(*CAM)
        publisher.send(sent(4), sent(5), sent(9), sent(2, run_id="b"), sent(3, run_id="b"), end("b"))
        assert [(item.run_id, item.seq, item.gap) for item in subscriber] == [
            ("a", 4, 0),
            ("a", 5, 0),
            ("a", 9, 3),
            ("b", 2, 0),
            ("b", 3, 0),
        ]


def test_repeats_of_a_restarted_publisher_are_dropped(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber:
        publisher.wait_for(*CAM)
        publisher.send(sent(0), sent(1), sent(2), sent(1), sent(2), sent(3), end())
        assert [(item.seq, item.gap) for item in subscriber] == [(0, 0), (1, 0), (2, 0), (3, 0)]


def resubscribe(subscriber: Subscriber, publisher: Publisher) -> None:
    """Wait until a subscriber whose connection ended has connected again, which it does while it waits for messages."""
    deadline = time.monotonic() + PATIENCE
    while not publisher.subscriptions.issuperset(CAM):
        assert time.monotonic() < deadline, f"only {publisher.subscriptions}"
        with pytest.raises(SubscriptionTimeoutError):
            subscriber.receive(timeout=0.02)
        publisher.take_changes(wait=0)


def test_the_subscriber_reconnects_to_a_restarted_publisher() -> None:
    first = Publisher()
    with Subscriber(first.endpoint, source="cam", timeout=PATIENCE) as subscriber:
        first.wait_for(*CAM)
        first.send(sent(0))
        assert subscriber.receive() == result(0)
        first.close()
        second = Publisher(first.endpoint)
        resubscribe(subscriber, second)
        second.send(sent(2))
        assert subscriber.receive() == result(2, gap=1)
        second.close()


def test_a_source_whose_name_is_a_prefix_of_another_is_not_mixed_up_with_it(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber:
        publisher.wait_for(*CAM)
        publisher.send(sent(0, source="cam2"), sent(1, source="ca"), sent(2), end("a", "cam2"), sent(3), end())
        assert [(item.source, item.seq) for item in subscriber] == [("cam", 2), ("cam", 3)]


def test_without_a_source_all_are_received_until_the_last_has_ended(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, timeout=PATIENCE) as subscriber:
        publisher.wait_for(b"streamseg/1/")
        publisher.send(sent(0), sent(0, source="door"), sent(2), end(), sent(1, source="door"), end("a", "door"))
        assert [(item.source, item.seq, item.gap) for item in subscriber] == [
            ("cam", 0, 0),
            ("door", 0, 0),
            ("cam", 2, 1),
            ("door", 1, 0),
        ]


def test_without_a_source_pictures_are_requested_once_the_source_is_known(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, view="overlay", timeout=PATIENCE) as subscriber:
        publisher.wait_for(b"streamseg/1/")
        publisher.send(sent(0), heartbeat())
        assert isinstance(subscriber.receive(), Heartbeat)
        publisher.wait_for(b"streamseg/1/cam/overlay")
        publisher.send(sent(1), sent(1, view="overlay", jpeg=b"drawn"))
        received = subscriber.receive()
        assert isinstance(received, Result)
        assert (received.seq, received.jpeg, received.view) == (1, b"drawn", "overlay")


def test_latest_skips_older_results(publisher: Publisher) -> None:
    count = 400
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE, queue=16) as subscriber:
        publisher.wait_for(*CAM)
        publisher.send(*(sent(seq) for seq in range(count)))
        taken: list[Result] = []
        while not taken or taken[-1].seq < count - 1:
            newest = subscriber.latest()
            assert newest is not None
            taken.append(newest)
        assert len(taken) < count / 4
        assert all(after.gap == after.seq - before.seq - 1 for before, after in pairwise(taken))


def test_the_states_of_the_sources_are_known_also_to_a_program_that_takes_the_newest_result_only(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = SourceState(run_id="a", source="cam", stage="capture", state="disconnected", detail="no picture for 3.0 s")
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber:
        assert subscriber.states == {}
        publisher.wait_for(*CAM)
        publisher.send(encode_event(lost), sent(0))
        assert subscriber.latest() is not None
        assert subscriber.states == {"cam": lost}
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 4)
        assert subscriber.states == {}, "nothing came for more than three seconds"


def test_latest_returns_each_of_several_sources_although_one_always_comes_last(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, sources=["door", "yard"], timeout=PATIENCE) as subscriber:
        publisher.wait_for(b"streamseg/1/door/masks", b"streamseg/1/yard/state")
        seen = []
        for seq in range(6):
            publisher.send(sent(seq, source="door"), sent(seq, source="yard"))
            newest = subscriber.latest()
            assert newest is not None
            seen.append(newest.source)
        assert {*seen} == {"door", "yard"} and max(seen.count("door"), seen.count("yard")) <= 4


@pytest.mark.parametrize("method", ["receive", "latest"])
def test_a_result_of_another_source_ends_the_wait(publisher: Publisher, method: str) -> None:
    with (
        Subscriber(publisher.endpoint, sources=["door", "yard"], timeout=PATIENCE) as subscriber,
        ThreadPoolExecutor(1) as reader,
    ):
        publisher.wait_for(topic("door", "masks"), topic("yard", "masks"))
        take = getattr(subscriber, method)
        for seq, source in enumerate(["door", "yard", "yard", "door"]):
            waiting = reader.submit(take)
            publisher.send(sent(seq, source=source))
            received = waiting.result(2 * PATIENCE)
            assert isinstance(received, Result)
            assert (received.source, received.seq) == (source, seq)


def test_the_published_sources_are_listed_with_state_and_size(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, timeout=PATIENCE) as subscriber:
        publisher.wait_for(b"streamseg/1/")
        assert subscriber.sources() == []
        lost = SourceState(run_id="a", source="yard", stage="capture", state="disconnected", detail="unplugged")
        beat = Heartbeat(run_id="a", source="door", seq=None, t_unix_ns=1, state="running")
        publisher.send(encode_event(beat), encode_event(lost), *(sent(seq, source="door") for seq in range(3)))
        while len(subscriber.sources()) < 2 or subscriber.sources()[0].size is None:
            subscriber.receive()
        door, yard = subscriber.sources()
        assert (door.name, door.state, door.size) == ("door", "running", (64, 48))
        assert (yard.name, yard.state, yard.detail, yard.size, yard.rate) == (
            "yard", "disconnected", "unplugged", None, None
        )  # fmt: skip


@pytest.mark.parametrize("wrong", [{"sources": "door"}, {"sources": []}, {"source": "a", "sources": ["b"]}])
def test_sources_is_a_list_of_names(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="sources"):
        Subscriber("tcp://127.0.0.1:5555", **wrong)


def test_latest_stops_at_the_end_of_a_run(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber:
        publisher.wait_for(*CAM)
        publisher.send(sent(0), sent(1), end(), sent(0, run_id="b"))
        runs = [newest and newest.run_id for newest in iter(subscriber.latest, None)]
        assert set(runs) == {"a"}
        following = subscriber.latest()
        assert following is not None
        assert following.run_id == "b"


def test_latest_returns_an_older_result_if_the_newest_is_broken(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber:
        publisher.wait_for(*CAM)
        publisher.send(sent(0), [CAM[0], b"{}", b""])
        assert subscriber.latest() == result(0)


def test_nothing_within_the_time_out_is_an_error(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, source="cam", timeout=0.05) as subscriber:
        publisher.wait_for(*CAM)
        with pytest.raises(SubscriptionTimeoutError, match=r"within 0\.05 s; is the pipeline running"):
            next(iter(subscriber))
        with pytest.raises(SubscriptionTimeoutError):
            subscriber.latest()
        with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
            subscriber.receive(timeout=0.01)


def test_a_heartbeat_is_no_result_but_shows_that_the_pipeline_runs(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, source="cam", timeout=0.3) as subscriber:
        publisher.wait_for(*CAM)
        publisher.send(heartbeat())
        subscriber.receive(timeout=PATIENCE)
        publisher.send(heartbeat())
        with pytest.raises(SubscriptionTimeoutError, match="the pipeline runs"):
            next(iter(subscriber))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_iteration_survives_a_camera_that_is_away_for_longer_than_the_time_out(
    publisher: Publisher, asynchronous: bool
) -> None:
    gone = SourceState(run_id="a", source="cam", stage="capture", state="disconnected", detail="the stream ended")

    def camera_restarts() -> None:
        publisher.send(sent(0), encode_event(gone))
        for _ in range(4):
            time.sleep(0.3)  # together longer than the time-out
            publisher.send(heartbeat())
        publisher.send(sent(1), end())

    async def received() -> list[int]:
        return [item.seq async for item in subscriber]

    with Subscriber(publisher.endpoint, source="cam", timeout=1) as subscriber, ThreadPoolExecutor(1) as executor:
        publisher.wait_for(*CAM)
        publishing = executor.submit(camera_restarts)
        assert (asyncio.run(received()) if asynchronous else [item.seq for item in subscriber]) == [0, 1]
        publishing.result()


def test_bad_messages_are_counted_logged_once_and_dropped(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    good = sent(1)
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber, caplog.at_level(logging.WARNING):
        publisher.wait_for(*CAM)
        publisher.send(sent(0), [CAM[0], b"{"], [CAM[0]], [*good, b"", b""], good, end())
        assert [item.seq for item in subscriber] == [0, 1]
        assert subscriber.rejected == 3
        assert len(caplog.records) == 1


def test_kinds_and_views_of_a_later_version_are_ignored_without_a_warning(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    view = [b"streamseg/1/cam/depth", *sent(0)[1:]]
    kind = [CAM[1], b'{"v":1,"kind":"chapter","run_id":"a","source":"cam","title":null}']
    with Subscriber(publisher.endpoint, timeout=PATIENCE) as subscriber, caplog.at_level(logging.WARNING):
        publisher.wait_for(b"streamseg/1/")
        publisher.send(view, kind, heartbeat("cam"))
        assert isinstance(subscriber.receive(), Heartbeat)
        assert subscriber.rejected == 0
        assert caplog.records == []


def test_a_subscriber_follows_a_limited_number_of_sources(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    with Subscriber(publisher.endpoint, timeout=PATIENCE, queue=1000) as subscriber, caplog.at_level(logging.WARNING):
        publisher.wait_for(b"streamseg/1/")
        publisher.send(*(heartbeat(f"cam{number}") for number in range(SOURCES + 3)), heartbeat("cam0"))
        received = [subscriber.receive() for _ in range(SOURCES + 1)]
        assert len({message.source for message in received}) == SOURCES
        assert subscriber.rejected == 3
        assert "cam256 is one source more than the 256 that a subscriber follows; name it" in caplog.text


def test_parts_that_no_reader_needs_are_not_kept(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE, queue=1000) as subscriber:
        publisher.wait_for(*CAM)
        large = bytes(PART_BYTES)
        tracemalloc.start()
        publisher.send(*([[*heartbeat(), large, large]] * 30), sent(0), end())
        assert isinstance(subscriber.latest(), Result)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * PART_BYTES


def test_what_a_stranger_writes_cannot_control_the_terminal(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    topic, header = heartbeat()
    strange = header.replace(b'"seq":"0"', b'"seq":"\\u001b]0;owned\\u0007\\n\\u009b2J"')
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber, caplog.at_level(logging.WARNING):
        publisher.wait_for(*CAM)
        publisher.send([topic, strange], end())
        assert isinstance(subscriber.receive(), End)
        assert caplog.records[0].getMessage().isprintable()
        assert r"\x1b]0;owned\x07\n\x9b2J" in caplog.text


def test_a_publisher_of_too_large_parts_is_disconnected(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, source="cam", timeout=0.1) as subscriber:
        publisher.wait_for(*CAM)
        publisher.send([CAM[0], bytes(PART_BYTES + 1), b""])
        while publisher.subscriptions:
            publisher.take_changes(wait=PATIENCE)
        with pytest.raises(SubscriptionTimeoutError):
            subscriber.receive()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_publisher_whose_message_does_not_end_is_disconnected(
    caplog: pytest.LogCaptureFixture, asynchronous: bool
) -> None:
    async def first() -> Result:
        return await anext(aiter(subscriber))

    def wait() -> None:
        with pytest.raises(SubscriptionTimeoutError):
            asyncio.run(first()) if asynchronous else subscriber.receive()

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as executor:
        endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with Subscriber(endpoint, source="cam", timeout=PATIENCE / 4) as subscriber:
            waiting = executor.submit(wait)
            with accepted(listener, PATIENCE / 8) as publisher:
                publisher.send_unfinished(bytes(PART_BYTES), 16)
                publisher.wait_for_end()
            waiting.result()
    assert f"{endpoint} sends a message that is longer than the format allows: disconnected" in caplog.text


def test_async_for_leaves_the_event_loop_free(publisher: Publisher) -> None:
    async def main() -> tuple[list[int], int]:
        turns = 0

        async def publish() -> None:
            nonlocal turns
            for seq in range(10):
                await asyncio.sleep(0.005)
                publisher.send(sent(seq))
                turns += 1
            publisher.send(end())

        task = asyncio.create_task(publish())
        received = [item.seq async for item in subscriber]
        await task
        return received, turns

    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber:
        publisher.wait_for(*CAM)
        assert asyncio.run(main()) == (list(range(10)), 10)
        publisher.send(sent(0, run_id="b"), sent(1, run_id="b"), end("b"))
        assert [item.seq for item in subscriber] == [0, 1]


def test_async_for_can_time_out_and_be_cancelled(publisher: Publisher) -> None:
    async def first() -> Result:
        return await anext(aiter(subscriber))

    async def cancelled() -> None:
        task = asyncio.create_task(first())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Subscriber(publisher.endpoint, source="cam", timeout=0.05) as subscriber:
        publisher.wait_for(*CAM)
        with pytest.raises(SubscriptionTimeoutError):
            asyncio.run(first())
        asyncio.run(cancelled())
        publisher.send(sent(0))
        assert subscriber.receive(timeout=PATIENCE) == result(0)


def test_closing_is_fast_and_may_be_repeated() -> None:
    subscriber = Subscriber("tcp://127.0.0.1:9")
    start = time.monotonic()
    subscriber.close()
    subscriber.close()
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("endpoint", ["localhost:5555", "tcp://127.0.0.1", "", "udp5://x:1", "ipc://\udcdf"])
def test_an_invalid_endpoint_is_an_error_of_one_line(endpoint: str) -> None:
    with pytest.raises(UsageError, match="expected tcp://HOST:PORT or ipc://PATH") as caught:
        Subscriber(endpoint)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"source": "Cam"}, {"view": "video"}, {"view": "state"}])
def test_an_invalid_source_or_view_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Subscriber(**wrong)


def test_importing_the_client_loads_nothing_heavy() -> None:
    code = "import sys, json, streamseg.client; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {
        "torch",
        "torchvision",
        "timm",
        "av",
        "cv2",
        "supervision",
        "onnxruntime",
        "PIL",
        "matplotlib",
        "scipy",
    }
    assert "asyncio" not in loaded


def test_frames_lost_before_the_first_picture_are_a_gap(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, view="overlay", timeout=PATIENCE) as subscriber:
        publisher.wait_for(b"streamseg/1/")
        starting = encode_event(Heartbeat(run_id="a", source="cam", seq=None, t_unix_ns=1, state="starting"))
        publisher.send(starting, sent(0), sent(1))
        assert isinstance(subscriber.receive(), Heartbeat)
        publisher.wait_for(b"streamseg/1/cam/overlay")
        publisher.send(sent(2, view="overlay", jpeg=b"drawn"))
        received = subscriber.receive()
        assert isinstance(received, Result)
        assert (received.seq, received.gap) == (2, 2)


FPS = 30


def at(seq: int, *, mode: str = "live", later_s: float = 0.0, **changes: Any) -> list[bytes]:
    """A result that was sent at its time of a stream of 30 frames a second."""
    return sent(seq, mode=mode, t_capture_unix_ns=round((1000 + seq / FPS + later_s) * 1e9), **changes)


@pytest.mark.parametrize("how", ["masks", "overlay", "curve"])
def test_a_slow_reader_sees_gaps_and_stays_fresh(tmp_path: Path, how: str) -> None:
    view: ResultView = "overlay" if how == "overlay" else "masks"
    jpeg = bytes(20_000) if how == "overlay" else None
    own = server = secret = None
    if how == "curve":
        own, _ = make_key_pair(tmp_path / "own")
        secret_file, server = make_key_pair(tmp_path / "publisher")
        secret = read_client_keys(secret_file, server).secret
    publisher = Publisher(secret_key=secret)
    with Subscriber(
        publisher.endpoint, source="cam", view=view, timeout=PATIENCE, secret_key_file=own, server_key_file=server
    ) as subscriber:
        publisher.wait_for(topic("cam", view), CAM[1])
        results: list[Result] = []
        for second in range(30):  # takes one result a second
            publisher.send(*(at(second * FPS + part, view=view, jpeg=jpeg) for part in range(FPS)))
            results.append(next(iter(subscriber)))
        while results[-1].seq < 30 * FPS - 1:
            results.append(next(iter(subscriber)))
    publisher.close()
    assert len(results) < 30 * FPS / 2
    assert len(results) + sum(each.gap for each in results) == results[-1].seq - results[0].seq + 1


def test_a_slow_reader_of_a_file_loses_nothing(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber:
        publisher.wait_for(*CAM)
        publisher.send(*(at(seq, mode="every-frame") for seq in range(300)), end())
        assert [each.seq for each in subscriber] == list(range(300))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_after_a_pause_old_results_are_not_used_if_a_newer_one_comes(
    publisher: Publisher, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_NEWER_S", PATIENCE)
    with Subscriber(publisher.endpoint, source="cam", timeout=PATIENCE) as subscriber:
        publisher.wait_for(*CAM)

        async def first() -> Result:
            return await anext(aiter(subscriber))

        def take() -> tuple[int, int]:
            taken = asyncio.run(first()) if asynchronous else next(iter(subscriber))
            return taken.seq, taken.gap

        publisher.send(at(300))
        assert take() == (300, 0)
        publisher.send(at(301, later_s=-5), at(600))  # the first one waited in buffers for 5 s
        assert take() == (600, 299)
        monkeypatch.setattr(client, "_NEWER_S", 0.01)
        publisher.send(at(601, later_s=-5))  # nothing newer comes
        assert take() == (601, 0)
        assert subscriber.lag_ms > 4_900


def test_a_reader_of_all_sources_makes_room_when_one_ends(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, timeout=PATIENCE) as subscriber:
        publisher.wait_for(b"streamseg/1/")
        for number in range(SOURCES + 5):
            name = f"cam-{number}"
            publisher.send(heartbeat(name), end(source=name), heartbeat("door"))
            assert [type(subscriber.receive()) for _ in range(3)] == [Heartbeat, End, Heartbeat]
            publisher.take_changes(wait=0.2)
        assert subscriber.rejected == 0
        publisher.wait_for_exactly(b"streamseg/1/", topic("door", "masks"))


@pytest.mark.parametrize("method", ["iteration", "latest"])
def test_a_reader_stays_while_other_sources_follow(publisher: Publisher, method: str) -> None:
    end_of_door = End(run_id="a", source="door", seq=3, reason=SOURCE_REMOVED, others_follow=True)
    end_of_yard = End(run_id="a", source="yard", seq=0, reason="end of source")
    with Subscriber(publisher.endpoint, timeout=PATIENCE, max_lag=None) as everything:
        publisher.wait_for(b"streamseg/1/")
        publisher.send(sent(3, source="door"), encode_event(end_of_door))
        results = iter(everything) if method == "iteration" else iter(everything.latest, None)
        assert next(results).source == "door"
        publisher.send(sent(0, source="yard"))
        assert next(results).source == "yard"
        publisher.send(encode_event(end_of_yard))
        assert list(results) == []
