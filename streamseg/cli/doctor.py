"""`streamseg doctor`: what works on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from streamseg.cli.options import DEFAULT_ENDPOINT, AsJson
from streamseg.cli.output import print_json, print_line


def doctor(
    endpoint: Annotated[str, typer.Argument(help="Endpoint for a pipeline to publish on.")] = DEFAULT_ENDPOINT,
    as_json: AsJson = False,
) -> None:
    """Check what works on this machine and how to fix what does not. Downloads and starts nothing.

    Each line starts with `ok`, `missing` or `needed`. Without something `needed`, no pipeline runs.

    If weights are missing, a run uses other models; without a display, it opens no window.

    Exit codes: 0 a pipeline can run on this machine, 2 none can.
    """
    import msgspec

    from streamseg.doctor import examine

    diagnosis = examine(endpoint)
    if as_json:
        print_json(msgspec.json.encode(diagnosis))
    else:
        for check in diagnosis.checks:
            state = "ok" if check.ok else "needed" if check.needed else "missing"
            print_line(f"{state:<8} {check.name}: {check.detail}{'' if check.remedy is None else f'; {check.remedy}'}")
    if not diagnosis.can_run:
        raise typer.Exit(2)
