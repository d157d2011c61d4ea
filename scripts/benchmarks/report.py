"""Prints figures: a table for people, JSON for programs."""

from __future__ import annotations

import msgspec
from rich.console import Console
from rich.table import Table


def print_figures(figures: msgspec.Struct, *, as_json: bool) -> None:
    """Print every field of a struct of figures by its name, which ends with the unit."""
    if as_json:
        print(msgspec.json.encode(figures).decode())  # noqa: T201 - the command's output
        return
    table = Table("figure", "value")
    for name, value in msgspec.structs.asdict(figures).items():
        table.add_row(name, f"{value:.3g}" if isinstance(value, float) else str(value))
    Console().print(table)
