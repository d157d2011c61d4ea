"""The live table of `streamseg subscribe`: rates, ages and losses of each source."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streamseg.errors import SubscriptionTimeoutError
from streamseg.messages import ResultMessage
from streamseg.monitor.stream import TIMING_POINTS, WINDOW_S, RecentResults, StreamFigures
from streamseg.monitor.texts import counts_text, objects_text, percentiles_text, share_text
from streamseg.printable import printable

REFRESH_S: Final = 0.25
"""Seconds between two drawings."""


def show_table(results: Iterable[ResultMessage], endpoint: str, console: Console) -> None:
    """Draw the figures of a stream until it ends. The last table stays, also after an exception.

    Args:
        results: A `Subscriber` with a time-out of `REFRESH_S`, so that the rate falls when no result arrives.
        endpoint: Address of the publisher.
        console: A terminal.

    Raises:
        SubscriptionRefusedError: The publisher refused the subscriber's key.
    """
    sources: dict[str, RecentResults] = {}

    def current() -> RenderableType:
        now_s = time.monotonic()
        figures = [found for recent in sources.values() if (found := recent.figures(now_s)) is not None]
        return draw(figures, endpoint) if figures else Text(f"waiting for {endpoint}")

    with Live(current(), console=console, auto_refresh=False) as live:
        drawn_s = time.monotonic()
        try:
            while True:
                try:
                    for result in results:
                        sources.setdefault(result.source, RecentResults()).add(result, time.monotonic())
                        if time.monotonic() - drawn_s >= REFRESH_S:
                            live.update(current(), refresh=True)
                            drawn_s = time.monotonic()
                    return
                except SubscriptionTimeoutError:
                    live.update(current(), refresh=True)
                    drawn_s = time.monotonic()
        finally:
            live.update(current())


def draw(figures: Sequence[StreamFigures], endpoint: str) -> Table:
    """A table with one column per source."""
    table = Table(title=f"{endpoint}, last {WINDOW_S:.0f} s, p50 / p99", title_justify="left")
    table.add_column("source")
    for one in figures:
        table.add_column(one.source)

    def row(name: str, cells: Sequence[str]) -> None:
        table.add_row(name, *(Text(printable(cell), no_wrap=True, overflow="ellipsis") for cell in cells))

    row("frames", [f"{one.received}, {one.rate:.1f} a second" for one in figures])
    row("missed", [str(one.missed) for one in figures])
    row("objects", [f"{len(one.newest.objects)} in frame {one.newest.seq}" for one in figures])
    row("masks", [", ".join(f"{count} {method}" for method, count in one.methods) or "0" for one in figures])
    row("mask age", [percentiles_text(one.mask_age_ms) for one in figures])
    row("boxes of the same frame", [share_text(one.own_boxes) for one in figures])
    table.add_section()
    for place, point in enumerate(TIMING_POINTS):
        row(f"{point} after", [percentiles_text(one.timings_ms[place]) for one in figures])
    table.add_section()
    row("dropped", [counts_text(msgspec.structs.asdict(one.newest.dropped)) or "none" for one in figures])
    row("newest", [objects_text(one.newest.objects) for one in figures])
    return table
