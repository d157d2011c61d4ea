"""Prints JSON lines: UTF-8 whatever the terminal's encoding is, and each at once."""

from __future__ import annotations

import sys


def print_json(line: bytes) -> None:
    """Print one line to standard output.

    Raises:
        OutputError: It cannot be written.
    """
    sys.stdout.flush()
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
