"""Real runs with subscribers that are slow, stopped or come and go, and with more clients than files may be open."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
from support import raw_zmtp
from support.leftovers import Place
from support.pipeline_runs import Run, free_endpoint, until
from support.raw_zmtp import SUBSCRIBE, frame

from streamseg import Subscriber
from streamseg.open_files import NEEDED
from streamseg.wire.protocol import topic

DEADLINE_S = 90.0
FRAMES = 120
RUN = ("run", "--detector", "motion", "--segmenter", "nano")
OVERLAY = frame(SUBSCRIBE + topic("main", "overlay"))


def with_open_files(most: int) -> tuple[str, ...]:
    return "sh", "-c", f'ulimit -n {most}; exec "$@"', "sh"


@contextmanager
def churn(endpoint: str) -> Iterator[None]:
    """Subscribers that come and go, some hundred in a second."""
    over = threading.Event()

    def come_and_go() -> None:
        while not over.wait(0.005):
            with suppress(OSError), raw_zmtp.connect(endpoint) as peer:
                peer.sendall(raw_zmtp.HANDSHAKE + OVERLAY)
                peer.recv(4096)

    threads = [threading.Thread(target=come_and_go) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(DEADLINE_S)


@contextmanager
def stopped(place: Place, endpoint: str) -> Iterator[None]:
    """A subscriber that is paused once it receives."""
    with place.run("subscribe", endpoint) as run:
        assert run.process.stdout is not None
        run.process.stdout.readline()
        run.process.send_signal(signal.SIGSTOP)
        yield


def test_slow_stopped_and_churning_subscribers_cost_the_others_no_frame(place: Place) -> None:
    endpoint = free_endpoint()
    with place.run(
        *RUN, "--source", f"synthetic:?size=320x240&frames={FRAMES}", "--set", "mode=every-frame",
        "--set", f"publish.bind={endpoint}", "--set", "publish.wait_for_subscriber=true",
    ) as run, ExitStack() as opened:  # fmt: skip
        opened.enter_context(stopped(place, endpoint))  # its subscription is what the first frame waits for
        friend = opened.enter_context(Subscriber(endpoint, source="main", timeout=DEADLINE_S))
        results = [next(iter(friend))]
        opened.enter_context(raw_zmtp.subscriber(endpoint)).sendall(OVERLAY)  # never reads
        opened.enter_context(churn(endpoint))
        results += friend
        status, output, errors = run.finish(DEADLINE_S)
    assert len(results) > FRAMES / 3
    assert [result.seq for result in results] == list(range(results[0].seq, FRAMES))
    assert (status, errors.count("Traceback")) == (0, 0)
    assert re.search(r"\brestarts\b.*: none$", output, re.MULTILINE)


def kill(run: Run, stage: str) -> None:
    """Kill a stage and wait for its new process."""
    old = run.stages()[stage]
    old.kill()

    def is_new() -> bool:
        with suppress(KeyError, psutil.NoSuchProcess):
            return run.stages()[stage].pid != old.pid
        return False

    until(is_new, DEADLINE_S, f"another {stage}")


def test_clients_without_number_take_no_descriptor_that_the_run_needs(place: Place) -> None:
    endpoint, metrics = free_endpoint(), free_endpoint()
    with place.run(
        *RUN, "--source", "synthetic:?size=320x240&fps=15", "--set", f"publish.bind={endpoint}",
        "--metrics", metrics.removeprefix("tcp://"), wrapper=with_open_files(NEEDED + 8),
    ) as run, ExitStack() as opened:  # fmt: skip
        friend = opened.enter_context(Subscriber(endpoint, source="main", timeout=DEADLINE_S))
        assert friend.latest() is not None
        for address in [endpoint, metrics] * 150:
            with suppress(OSError):
                opened.enter_context(raw_zmtp.connect(address))
        for stage in ("detect", "capture", "publish"):
            kill(run, stage)
            newest = friend.latest()
            assert newest is not None
            until(lambda: (friend.latest() or newest).seq > newest.seq + 5, DEADLINE_S, "results")  # noqa: B023
        run.process.send_signal(signal.SIGINT)
        status, output, errors = run.finish(DEADLINE_S)
    assert (status, errors.count("Traceback")) == (130, 0)
    assert "at most 40 subscribers" in errors
    assert "restarts: capture 1, detect 1, publish 1" in output


def test_a_limit_that_is_too_low_is_one_line(place: Place) -> None:
    with place.run(*RUN, "--source", "synthetic:", wrapper=with_open_files(NEEDED - 1)) as run:
        status, output, errors = run.finish(DEADLINE_S)
    assert (status, output) == (70, "")
    assert errors.splitlines()[-1] == (
        f"streamseg: a process may have {NEEDED - 1} files open here, and a run needs {NEEDED}; "
        "allow more (`ulimit -n 1024`)"
    )
    assert "Traceback" not in errors
