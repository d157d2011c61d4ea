"""`streamseg show` and `streamseg subscribe`: what a running pipeline publishes."""

from __future__ import annotations

import os
import sys
import threading
from typing import Annotated

import typer

from streamseg.cli.options import DEFAULT_ENDPOINT, AsJson, Endpoint, SecretKeyFile, ServerKeyFile, SourceName


def show(
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    source: SourceName = None,
    secret_key_file: SecretKeyFile = None,
    server_key_file: ServerKeyFile = None,
    until_input_ends: Annotated[bool, typer.Option("--until-input-ends", hidden=True)] = False,
) -> None:
    """Watch a running pipeline in a window. q, Esc or closing it ends the window, not the pipeline."""
    from streamseg.show import show as show_window

    if not until_input_ends:  # the run that opens its window has checked
        from streamseg.show import require_display

        require_display()
    else:
        threading.Thread(target=_exit_when_input_ends, name="input", daemon=True).start()
    show_window(endpoint, source=source, secret_key_file=secret_key_file, server_key_file=server_key_file)


def subscribe(
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    source: SourceName = None,
    secret_key_file: SecretKeyFile = None,
    server_key_file: ServerKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Print the results of a running pipeline until it ends.

    On a terminal: a live table of frames, masks, ages, losses, and the milliseconds from capture to each step.

    Elsewhere: one line per frame with its source and number, and each object's class, track and mask area in pixels.
    Standard error has the changes of the source, the end, and what is waited for.

    With --json, each of them is a line of JSON, by its `kind`: result, state, end or waiting.
    """
    from rich.console import Console

    from streamseg.cli.lines import WAITING_S, print_lines
    from streamseg.client import Subscriber
    from streamseg.monitor.table import REFRESH_S, show_table
    from streamseg.redaction import redact

    console = Console()
    as_table = not as_json and sys.stdout.isatty() and console.is_interactive
    with Subscriber(
        endpoint,
        source=source,
        timeout=REFRESH_S if as_table else WAITING_S,
        secret_key_file=secret_key_file,
        server_key_file=server_key_file,
    ) as subscriber:
        shown = redact(endpoint)
        if as_table:
            show_table(subscriber, shown, console)
        else:
            print_lines(subscriber, shown, as_json=as_json)


def _exit_when_input_ends() -> None:
    """Exit when standard input ends, so that a window does not outlive the run that opened it.

    The descriptor is read directly: at its exit Python takes the lock of `sys.stdin`, and aborts if a thread holds it.
    """
    while os.read(0, 4096):
        pass
    os._exit(0)
