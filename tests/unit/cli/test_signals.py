from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import cast

import pytest

from streamseg.cli.running import _Signals
from streamseg.pipeline import Pipeline


class Stopped:
    """Records the calls that a pipeline receives."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def stop(self, reason: str) -> None:
        self.calls.append(reason)

    def kill(self) -> None:
        self.calls.append("killed")


@pytest.fixture(autouse=True)
def dispositions() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, disposition in before.items():
        signal.signal(number, disposition)


def test_a_second_signal_kills_the_run_and_ends_a_summary_that_nobody_reads() -> None:
    pipeline = Stopped()
    signals = _Signals(cast(Pipeline, pipeline), None)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert pipeline.calls == ["interrupted", "killed"]
    signals.ended = True
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM
    assert signals.received == [signal.SIGTERM, signal.SIGINT, signal.SIGTERM]
