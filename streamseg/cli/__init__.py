"""The command line. Each command imports its heavy modules itself, so that --help is fast."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streamseg import __version__
from streamseg.cli.annotate import annotate
from streamseg.cli.bench import bench_app
from streamseg.cli.doctor import doctor
from streamseg.cli.output import print_line
from streamseg.cli.pipeline import demo, run
from streamseg.cli.prepare import check, devices, init, keys
from streamseg.cli.reload import reload
from streamseg.cli.segment import segment
from streamseg.cli.train import train_app
from streamseg.cli.watch import show, subscribe
from streamseg.cli.weights import weights_app
from streamseg.errors import StreamsegError
from streamseg.extras import needed_for
from streamseg.streams import take_over_streams

if TYPE_CHECKING:
    from types import FrameType

PROGRAM: Final = "streamseg"

app = typer.Typer(
    name=PROGRAM,
    help=(
        "Segments live video: a mask for every object of a webcam, RTSP or HTTP camera or file, shown, recorded and "
        "published."
        "\n\nStart with `streamseg demo`, then `streamseg run --source 0 --show`. Every command has --help."
    ),
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, run, reload, show, subscribe, segment, annotate, check, init, keys, devices, doctor):
    app.command()(command)
app.add_typer(weights_app, name="weights")
app.add_typer(bench_app, name="bench")
app.add_typer(train_app, name="train")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"streamseg {__version__}")
        raise typer.Exit


@app.callback()
def streamseg(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options before the command."""


def main() -> None:
    """Run a command. An error prints one line and sets the exit code."""
    _hide_arguments()
    take_over_streams()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status = _run()
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")
        context = getattr(error, "ctx", None)
        command = PROGRAM if context is None else context.command_path
        # Without a command there is no message: the help was printed.
        _fail(message and f"{message}; see {command} --help", 2)
    except StreamsegError as error:
        _fail(str(error), error.exit_code)
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _run() -> object:
    try:
        with needed_for("this command"):
            return app(standalone_mode=False, prog_name=PROGRAM)
    finally:
        sys.stdout.flush()  # here, where an error can still be reported


def _hide_arguments() -> None:
    """Let `ps` list the command without its arguments: one of them may hold a password."""
    with suppress(ModuleNotFoundError):  # of the extra `run`; without it there is no command that opens a source
        from setproctitle import setproctitle

        command = next((word for word in sys.argv[1:2] if word in _commands()), "")
        setproctitle(f"streamseg {command}".rstrip())


def _commands() -> set[str]:
    commands = {command.callback.__name__ for command in app.registered_commands if command.callback is not None}
    return commands | {group.name for group in app.registered_groups if group.name is not None}


def _terminate(number: int, frame: FrameType | None) -> None:
    """Exit on SIGTERM as on Ctrl-C, so that locks and unfinished files are removed."""
    sys.exit(128 + number)


def _fail(message: str, status: int) -> None:
    if message:
        print_line(f"streamseg: {message}", err=True)
    sys.exit(status)
