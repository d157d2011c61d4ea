"""Commands that prepare a run: `streamseg check`, `init`, `keys` and `devices`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from streamseg.cli.options import Assignments, Overwrite, example_file, load_settings, without_standard_output
from streamseg.cli.output import print_line
from streamseg.errors import OutputExistsError, UsageError


def check(
    config: Annotated[Path, typer.Argument(help="Settings file (YAML).")],
    assignments: Assignments = None,
    yes: Overwrite = False,
) -> None:
    """Check a settings file as `streamseg run` does, without starting or downloading anything.

    It refuses what a run would refuse at this moment: a setting, whose key the error names, an endpoint in use, a file
    that is missing, or an output that exists (without -y). It opens no source and loads no weights.

    Exit codes: 0 valid, 2 usage or settings, 3 source, 4 weights.
    """
    from streamseg.ipc.instance import Endpoint
    from streamseg.plan import check_run

    settings = load_settings(config, assignments)
    with ExitStack() as stack:
        stack.enter_context(Endpoint(settings.publish.bind))
        if settings.control.bind is not None:
            stack.enter_context(Endpoint(settings.control.bind, "control.bind"))
        check_run(without_standard_output(settings), overwrite=yes)
    kinds = ", ".join(source.kind for source in settings.sources)
    print_line(
        f"{config}: valid; {kinds} source{'s' if len(settings.sources) > 1 else ''}, mode {settings.resolved_mode}"
    )


def init(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Example: webcam, rtsp, cameras, file or demo.", show_default=False)
    ] = "",
    yes: Overwrite = False,
) -> None:
    """Write a commented example settings file, such as webcam.yaml, to this folder."""
    target = Path(f"{name}.yaml")
    text = example_file(name).read_text(encoding="utf-8")
    if target.exists() and not yes:
        raise OutputExistsError(f"{target} exists; rename it, or overwrite it with -y")
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}; change to another folder") from error
    print_line(f"wrote {target}; edit it, then run: streamseg run {target}")


def keys(
    name: Annotated[
        Path, typer.Argument(help="Name of the files: NAME.key and NAME.pub.", metavar="NAME", show_default=False)
    ],
) -> None:
    """Make a key pair. Remote subscribers authenticate with keys; each side needs a pair of its own.

    \b
    Examples:
      streamseg keys camera
      streamseg keys viewer
      streamseg run --source 0 --set publish.bind=tcp://0.0.0.0:5555 \\
        --set publish.curve.secret_key_file=camera.key \\
        --set publish.curve.allow=viewer.pub
      streamseg subscribe tcp://HOST:5555 \\
        --secret-key-file viewer.key --server-key-file camera.pub
    """
    from streamseg.wire.curve import make_key_pair

    secret, public = make_key_pair(name)
    print_line(f"wrote {secret}, the secret key of this side, and {public}, the public key for the other side")


def devices() -> None:
    """List the cameras of this machine: number for --source, device, name and formats."""
    from streamseg.sources.devices import list_devices

    cameras = list_devices()
    if not cameras:
        print_line("no camera found; connect one, or check that this user may open it")
    for camera in cameras:
        print_line(f"{camera.index}  {camera.device}  {camera.name}")
        for offered in camera.formats:
            print_line(f"     {offered}")
