"""Runs a pipeline for a person at a terminal: progress, a window, metrics, and Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamseg.config import Config
from streamseg.monitor.console import RunDisplay
from streamseg.monitor.progress import DownloadDisplay
from streamseg.monitor.prometheus import MetricsServer, RunMetrics
from streamseg.pipeline import STAGES, Pipeline
from streamseg.supervisor import Observer

if TYPE_CHECKING:
    from streamseg.ipc.control import Published, Ready


def run_pipeline(
    settings: Config, *, overwrite: bool, window: tuple[str, ...] | None = None, server: MetricsServer | None = None
) -> None:
    """Run to the end, showing how it goes, and print what it came to: a table on a terminal, elsewhere a line `name: value` for each.

    Args:
        settings: Of the run.
        overwrite: Whether recordings may replace files that exist.
        window: Options of `streamseg show` for a window beside the run, or None for no window.
        server: Where the run's figures are served, if at all.

    Raises:
        StreamsegError: The run could not start, or failed.
        SystemExit: With 128 and the signal's number, where a signal ended the run.
    """
    console = Console(stderr=True)
    with DownloadDisplay(console) as downloads:
        pipeline = Pipeline(settings, overwrite=overwrite, progress=downloads.update)
    received = _stop_on_signals(pipeline)
    metrics_url = None if server is None else server.url
    display = RunDisplay(
        console,
        pipeline.plan.config,
        pipeline.plan.models,
        [entry.name for entry in STAGES],
        endpoint=pipeline.endpoint,
        notice=pipeline.plan.notice,
        metrics_url=metrics_url,
    )
    observers: list[Observer] = [display]
    if server is not None:
        server.metrics.describe(pipeline.plan.models)
        observers.append(server.metrics)
    with display, _window(pipeline, window):
        outcome = pipeline.run(Observers(observers))
    _print_summary([*display.summary(outcome.reason), *_peak_memory()])
    if received:
        sys.exit(128 + received[0])


@contextmanager
def serve_metrics(address: str | None) -> Iterator[MetricsServer | None]:
    """Serve figures while the block lasts, where an address is given.

    Raises:
        UsageError: The address cannot be used.
    """
    if address is None:
        yield None
        return
    with MetricsServer(address, RunMetrics([entry.name for entry in STAGES])) as server:
        yield server


def _print_summary(rows: Sequence[tuple[str, str]]) -> None:
    if not sys.stdout.isatty():
        for name, value in rows:
            typer.echo(f"{name}: {value}")
        return
    table = Table(show_header=False)
    for name, value in rows:
        table.add_row(name, Text(value))
    Console().print(table)


def _peak_memory() -> list[tuple[str, str]]:
    """The most memory that any one process of the run, a window included, has had; no row where the system does not say."""
    if sys.platform == "win32":
        return []
    import resource

    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    megabytes = most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6
    return [("peak memory", f"{megabytes:.0f} MB, of the largest process")]


@contextmanager
def _window(pipeline: Pipeline, options: tuple[str, ...] | None) -> Iterator[None]:
    """Have a window in a process of its own beside the run, unless its options are None; closing it ends the run."""
    if options is None:
        yield
        return
    command = [sys.executable, "-P", "-m", "streamseg.cli", "show", pipeline.endpoint, "--until-input-ends", *options]
    window = subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)

    def stop_when_closed() -> None:
        window.wait()
        pipeline.stop("window closed")

    threading.Thread(target=stop_when_closed, name="window", daemon=True).start()
    try:
        yield
    finally:
        window.communicate()


def _stop_on_signals(pipeline: Pipeline) -> list[int]:
    """Stop in an orderly way on the first signal, at once on the second; the list names those received."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            pipeline.stop("interrupted")
        else:
            pipeline.kill()

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), receive)
    return received


class Observers:
    """Tells several observers, in turn, what happens."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def prepared(self, stage: str, ready: Ready) -> None:
        """A stage has said that it is ready."""
        for observer in self._observers:
            observer.prepared(stage, ready)

    def published(self, published: Published) -> None:
        """A frame has been published."""
        for observer in self._observers:
            observer.published(published)

    def changed(self, stage: str, state: str, detail: str) -> None:
        """The source or a stage changed."""
        for observer in self._observers:
            observer.changed(stage, state, detail)

    def logged(self, level: int, text: str) -> None:
        """A stage wrote a log line."""
        for observer in self._observers:
            observer.logged(level, text)
