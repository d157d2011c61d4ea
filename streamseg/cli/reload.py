"""`streamseg reload`."""

from __future__ import annotations

import os
import signal
from typing import Annotated

import typer

from streamseg.cli.output import print_line
from streamseg.errors import UsageError
from streamseg.runtime_folder import runtime_directory


def reload(
    endpoint: Annotated[
        str | None,
        typer.Argument(help="Where the run publishes, if you have several runs.", show_default=False),
    ] = None,
) -> None:
    """Make a run read its settings file again (`streamseg run CONFIG`).

    Sources that were added to the file, removed from it or changed in it are started, stopped or restarted. The others
    run on. If the file is invalid, or another setting than the sources has changed, nothing changes. The run prints one
    line about it. `streamseg check CONFIG` checks the file before.

    The command sends the signal SIGHUP to the process of the run, as `kill -HUP PID` does.

    \b
    Examples:
      streamseg reload
      streamseg reload tcp://127.0.0.1:5556

    Exit codes: 0 the run received the signal, 2 there is no such run, or several.
    """
    from streamseg.ipc.listed_runs import listed_runs

    runs = listed_runs(runtime_directory())
    named = [run for run in runs if endpoint in (None, run.endpoint)]
    found = ", ".join(f"{run.endpoint} (process {run.pid})" for run in runs)
    if not runs:
        raise UsageError("no run of this user has a settings file; start one with `streamseg run CONFIG`")
    if not named:
        raise UsageError(f"{endpoint}: no run with a settings file publishes there; expected one of {found}")
    if len(named) > 1:
        raise UsageError(f"there are several runs; name one: {found}")
    (run,) = named
    try:
        os.kill(run.pid, signal.SIGHUP)
    except ProcessLookupError as error:
        raise UsageError(f"the run at {run.endpoint} has just ended") from error
    print_line(f"the run at {run.endpoint} (process {run.pid}) reads its settings again, and prints what changes")
