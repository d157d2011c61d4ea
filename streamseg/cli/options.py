"""Arguments and options of several commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streamseg.config import Config
    from streamseg.config_file import Override

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5555"

Endpoint = Annotated[str, typer.Argument(help="Where the pipeline publishes; `streamseg run` prints it.")]
SettingsFile = Annotated[
    Path | None,
    typer.Argument(
        help="Settings file (YAML); `streamseg init` writes one. Options override it.",
        metavar="CONFIG",
        show_default=False,
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting by its key, such as detector.conf=0.4 or sources.door.rotate=90. May be repeated.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--yes", "-y", help="Overwrite existing output files.")]
SourceName = Annotated[
    str | None,
    typer.Option(help="Only the source with this name.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SecretKeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="F.key",
        help="This side's secret key, for a pipeline that admits certain keys only.",
        show_default=False,
    ),
]
ServerKeyFile = Annotated[
    Path | None, typer.Option(metavar="F.pub", help="Public key of that pipeline.", show_default=False)
]


def load_settings(
    path: Path | None,
    assignments: list[str] | None,
    overrides: Sequence[Override] = (),
    *,
    sources: Sequence[Mapping[str, object]] = (),
) -> Config:
    """Read a settings file; `--set` overrides it, and `overrides` override both.

    Args:
        path: The file.
        assignments: Of `--set`.
        overrides: Of other options.
        sources: Of `--source`, for each the settings of that source.

    Raises:
        SettingsError: A file, key or value is invalid.
    """
    import os

    from streamseg.config_file import load_config, parse_override

    assigned = map(parse_override, assignments or [])
    return load_config(path, [*assigned, *overrides], os.environ, sources)


def without_standard_output(settings: Config) -> Config:
    """The settings without records for standard output: the command prints them, and no process writes them."""
    from msgspec.structs import replace

    from streamseg.config import STANDARD_OUTPUT

    if settings.record.jsonl not in STANDARD_OUTPUT:
        return settings
    return replace(settings, record=replace(settings.record, jsonl=None))


def example_file(name: str) -> Path:
    """An example settings file of the package.

    Raises:
        UsageError: There is no such example.
    """
    from streamseg.errors import UsageError
    from streamseg.spelling import suggestion

    package = Path(__file__).parents[1]
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            known = sorted(path.stem for path in folder.glob("*.yaml"))
            if name not in known:
                wrong = f"{name!r} is not an example" if name else "no example is named"
                raise UsageError(f"{wrong}; expected one of {', '.join(known)}{suggestion(name, known)}")
            return folder / f"{name}.yaml"
    raise UsageError("the example settings are not installed; reinstall streamseg")
