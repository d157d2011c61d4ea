"""`streamseg doctor`: what works on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamseg.cli.options import DEFAULT_ENDPOINT, AsJson, Assignments, load_settings
from streamseg.cli.output import print_json, print_line
from streamseg.monitor.patience import Announced


def doctor(
    target: Annotated[
        str,
        typer.Argument(
            metavar="[CONFIG|ENDPOINT]", help="Settings file whose sources to measure, or an endpoint to publish on."
        ),
    ] = DEFAULT_ENDPOINT,
    assignments: Assignments = None,
    seconds: Annotated[
        float, typer.Option(min=1, max=600, help="How long each source of a settings file is read.")
    ] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Check what works on this machine and how to fix what does not. Downloads nothing and starts no pipeline.

    Each line starts with `ok`, `missing` or `needed`. Without something `needed`, no pipeline runs.

    If weights are missing, a run uses other models; without a display, it opens no window.

    With a settings file, it opens all sources, and prints what each sends and what they cost together with the models.
    `-` stands for what a source does not tell: only a camera over UDP tells lost packets.

    \b
    Examples:
      streamseg doctor
      streamseg doctor cameras.yaml --set fps=5

    Exit codes: 0 a pipeline can run on this machine, 2 none can.
    """
    import msgspec

    from streamseg.doctor import examine

    settings = None if "://" in target else load_settings(Path(target), assignments)
    diagnosis = examine(target if settings is None else settings.publish.bind)
    if settings is not None and diagnosis.can_run:
        from streamseg.source_report import examine_sources

        with Announced(f"reading the sources for {seconds:g} s"):
            diagnosis = examine_sources(settings, diagnosis, seconds)
    if as_json:
        print_json(msgspec.json.encode(diagnosis))
    else:
        for check in diagnosis.checks:
            state = "ok" if check.ok else "needed" if check.needed else "missing"
            print_line(f"{state:<8} {check.name}: {check.detail}{'' if check.remedy is None else f'; {check.remedy}'}")
    if not diagnosis.can_run:
        raise typer.Exit(2)
