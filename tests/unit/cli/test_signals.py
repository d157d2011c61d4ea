from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import cast

import pytest

from streamseg.cli import running
from streamseg.cli.running import _Signals
from streamseg.pipeline import Pipeline


class Stopped:
    """Records the calls that a pipeline receives."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def stop(self, reason: str) -> None:
        self.calls.append(reason)

    def reload(self) -> None:
        self.calls.append("reload")

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
    signals = _Signals(cast(Pipeline, pipeline), None, reloads=True)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert pipeline.calls == ["interrupted", "killed"]
    signals.ended = True
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM
    assert signals.received == [signal.SIGTERM, signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize(
    ("reloads", "terminal_before", "terminal_now", "calls"),
    [
        (True, False, False, ["reload", "reload"]),  # a service
        (True, True, True, ["reload", "reload"]),
        (True, True, False, ["interrupted", "killed"]),  # the terminal was closed
        (False, False, False, ["interrupted", "killed"]),  # there is no file
    ],
)
def test_a_hang_up_reads_the_settings_again_unless_the_terminal_was_closed(
    monkeypatch: pytest.MonkeyPatch, reloads: bool, terminal_before: bool, terminal_now: bool, calls: list[str]
) -> None:
    has_terminal = iter([terminal_before, terminal_now, terminal_now])
    monkeypatch.setattr(running, "_has_terminal", lambda: next(has_terminal))
    pipeline = Stopped()
    _Signals(cast(Pipeline, pipeline), None, reloads=reloads)
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGHUP)
    assert pipeline.calls == calls
