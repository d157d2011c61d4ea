"""`streamseg doctor`: what works here."""

from __future__ import annotations

from typing import Annotated

import typer

from streamseg.cli.options import AsJson
from streamseg.cli.pipeline import DEFAULT_ENDPOINT


def doctor(
    endpoint: Annotated[str, typer.Argument(help="Where a pipeline is to publish.")] = DEFAULT_ENDPOINT,
    as_json: AsJson = False,
) -> None:
    """Tell what works on this machine, and what to do about what does not. Nothing is downloaded, and no pipeline is started.

    Each line begins with `ok`, with `missing`, or, where no pipeline can run without it, with `needed`. Without weights, a camera or a
    display a pipeline still runs, with other models, from another source, or without a window.

    Exit codes: 0 a pipeline can run here, 2 none can.
    """
    import msgspec

    from streamseg.doctor import examine

    diagnosis = examine(endpoint)
    if as_json:
        typer.echo(msgspec.json.encode(diagnosis).decode())
    else:
        for check in diagnosis.checks:
            state = "ok" if check.ok else "needed" if check.needed else "missing"
            typer.echo(f"{state:<8} {check.name}: {check.detail}{'' if check.remedy is None else f'; {check.remedy}'}")
    if not diagnosis.can_run:
        raise typer.Exit(2)
