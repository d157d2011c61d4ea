"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Endpoint = Annotated[str, typer.Argument(help="Where the pipeline publishes; `streamseg run` prints it.")]
Settings = Annotated[
    Path | None,
    typer.Argument(
        help="A settings file (YAML); `streamseg init` writes one. Options win over it.", show_default=False
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any setting by its key, such as detector.conf=0.4. May be repeated."
    ),
]
Overwrite = Annotated[bool, typer.Option("--yes", "-y", help="Overwrite output files that exist.")]
SourceName = Annotated[
    str | None, typer.Option(help="Only the source of this name (sources.0.name in its settings).", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
SecretKeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="F.key",
        help="This side's secret key, for a pipeline that lets in certain keys only.",
        show_default=False,
    ),
]
ServerKeyFile = Annotated[
    Path | None, typer.Option(metavar="F.pub", help="That pipeline's public key.", show_default=False)
]
