"""Times work and prints figures; every benchmark uses it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from rich.console import Console
from rich.table import Table

Report = Callable[[str], None]
"""Receives a line before each step of a benchmark."""
_Result = TypeVar("_Result")


def timed(work: Callable[[], _Result]) -> tuple[float, _Result]:
    """Do some work once, and return its duration in milliseconds and its result."""
    start = time.perf_counter()
    result = work()
    return 1000 * (time.perf_counter() - start), result


def medians_ms(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Do each work once a round, in turn, so that a disturbance affects all alike; return the median of each."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, spent in zip(works, times, strict=True):
            spent.append(timed(work)[0])
    return [statistics.median(spent) for spent in times]


def print_fields(figures: msgspec.Struct) -> None:
    """Print a table with every field; the names end with the unit."""
    table = Table("figure", "value")
    for name, value in msgspec.structs.asdict(figures).items():
        table.add_row(name, f"{value:.3g}" if isinstance(value, float) else str(value))
    Console().print(table)
