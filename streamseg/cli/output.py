"""Prints lines for people and lines of JSON."""

from __future__ import annotations

import sys

import typer

from streamseg.printable import printable, printable_json


def print_line(text: str, *, err: bool = False) -> None:
    """Print a line to standard output, or to standard error; nothing in it controls the terminal.

    Raises:
        OutputError: Standard output cannot be written.
    """
    typer.echo(printable(text), err=err)


def print_json(line: bytes) -> None:
    """Print one line to standard output at once, in UTF-8 whatever the terminal's encoding is; see `printable_json`.

    Raises:
        OutputError: It cannot be written.
    """
    sys.stdout.flush()
    sys.stdout.buffer.write(printable_json(line) + b"\n")
    sys.stdout.buffer.flush()
