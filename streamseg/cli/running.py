"""Runs a pipeline at a terminal: progress, a window, metrics, Ctrl-C, and a summary at the end."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamseg import __version__
from streamseg.cli.options import without_standard_output
from streamseg.cli.output import print_json, print_line
from streamseg.config import STANDARD_OUTPUT, Config, RecordSettings
from streamseg.config_file import SettingsFile
from streamseg.ipc.listed_runs import listed
from streamseg.monitor.console import RunDisplay
from streamseg.monitor.metrics_server import MetricsServer
from streamseg.monitor.progress import DownloadDisplay
from streamseg.monitor.prometheus import RunInfo
from streamseg.monitor.stats import RunStats
from streamseg.monitor.texts import size_text
from streamseg.pipeline import Pipeline, processes_of
from streamseg.printable import printable
from streamseg.result import Result
from streamseg.runtime_folder import runtime_directory
from streamseg.sinks.parts import existing_parts
from streamseg.wire.protocol import json_line


def run_pipeline(
    settings: Config,
    *,
    overwrite: bool,
    window: tuple[str, ...] | None = None,
    metrics: str | None = None,
    file: SettingsFile | None = None,
) -> None:
    """Run a pipeline to its end and print a summary: a table on a terminal, else one line `name: value` per figure.

    Records for standard output are printed as they come; the summary then goes to standard error.

    Args:
        settings: Of the run.
        overwrite: Whether recordings may replace existing files.
        window: Options of `streamseg show` for a window beside the run; None opens no window.
        metrics: Where the figures are served for Prometheus, as `HOST:PORT` or a port; None serves none.
        file: Where SIGHUP reads the settings again; None if the settings are from options alone.

    Raises:
        StreamsegError: The run could not start, or failed.
        SystemExit: A signal ended the run; the status is 128 and the signal's number.
    """
    console = Console(stderr=True)
    to_output = settings.record.jsonl in STANDARD_OUTPUT
    settings = without_standard_output(settings)
    stats = RunStats(_starting(settings), [source.name for source in settings.sources])
    records = _Records() if to_output else None
    serving = nullcontext() if metrics is None else MetricsServer(metrics, stats, insecure=settings.publish.insecure)
    with serving as server:
        with DownloadDisplay(console) as downloads:
            pipeline = Pipeline(settings, overwrite=overwrite, progress=downloads.update, file=file)
        plan = pipeline.plan
        stats.expect(_starting(plan.config))
        if server is not None:
            server.collector.info = RunInfo(
                version=__version__,
                detector=plan.models.detector,
                segmenter=plan.models.segmenter,
            )
        display = RunDisplay(
            console,
            stats,
            plan.config,
            plan.models,
            endpoint=pipeline.endpoint,
            notice=plan.notice,
            metrics_url=None if server is None else server.url,
        )
        signals = _Signals(pipeline, records, reloads=file is not None)
        listing = nullcontext() if file is None else listed(runtime_directory(), pipeline.endpoint)
        with display, _window(pipeline, window), listing:
            reason = pipeline.run(display, None if records is None else records.print)
        signals.ended = True
    if signals.received and not stats.frames:
        print_line(f"streamseg: {reason} before the first frame", err=True)
        sys.exit(128 + signals.received[0])
    rows = [*display.summary(reason), ("peak memory", _peak_memory())]
    if any(source.recording for source in stats.sources.values()):
        rows.append(("wrote", _written(pipeline.recordings)))
    _print_summary(rows, to_output=to_output)
    if signals.received:
        sys.exit(128 + signals.received[0])
    for failure in pipeline.failures:
        raise failure


class _Records:
    """Prints results as JSON Lines. `printing` holds while one waits for the program that reads them."""

    printing = False

    def print(self, result: Result) -> None:
        self.printing = True
        print_json(json_line(result))
        self.printing = False


def _starting(config: Config) -> list[tuple[str, str | None]]:
    """Stage and source of the processes that a run starts with."""
    return [(key.stage, key.source) for key in processes_of(config) if key.source not in config.waiting]


def _written(records: Sequence[RecordSettings]) -> str:
    """The files of recordings with their sizes."""
    targets = [Path(target) for each in records for target in (each.video, each.jsonl) if target is not None]
    parts = [part for target in targets for part in existing_parts(target)]
    return ", ".join(f"{part} ({size_text(part.stat().st_size)})" for part in parts)


def _print_summary(rows: Sequence[tuple[str, str]], *, to_output: bool) -> None:
    """Print to standard output, or to standard error if that has the records."""
    if not (sys.stderr if to_output else sys.stdout).isatty():
        for name, value in rows:
            print_line(f"{name}: {value}", err=to_output)
        return
    table = Table(show_header=False)
    for name, value in rows:
        table.add_row(name, Text(printable(value)))
    Console(stderr=to_output).print(table)


def _peak_memory() -> str:
    """The largest memory that one process of the run used, a window included."""
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    megabytes = most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6
    return f"{megabytes:.0f} MB, of the largest process"


@contextmanager
def _window(pipeline: Pipeline, options: tuple[str, ...] | None) -> Iterator[None]:
    """Run a window in its own process, unless `options` is None. Closing the window ends the run."""
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


def _has_terminal() -> bool:
    """Whether this process has a terminal; it loses it when the terminal is closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


class _Signals:
    """Stops the run on the first signal and kills it on the second, which also ends a print that nobody reads.

    SIGHUP reads the settings file again, if there is one and the terminal of the run was not closed.

    Attributes:
        received: The signals so far.
        ended: Whether the run is over, and its summary may be printed.
    """

    def __init__(self, pipeline: Pipeline, records: _Records | None, *, reloads: bool) -> None:
        self.received: list[int] = []
        self.ended = False
        self._pipeline = pipeline
        self._records = records
        self._reloads = reloads
        self._at_terminal = _has_terminal()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and self._reloads and _has_terminal() == self._at_terminal:
            self._pipeline.reload()
            return
        self.received.append(number)
        if len(self.received) == 1:
            self._pipeline.stop("interrupted")
            return
        self._pipeline.kill()
        if self.ended or (self._records is not None and self._records.printing):
            sys.exit(128 + number)
