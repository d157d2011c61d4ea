"""The commands. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import typer

from streamseg.cli.annotate import annotate
from streamseg.cli.bench import bench_app
from streamseg.cli.doctor import doctor
from streamseg.cli.pipeline import check, demo, devices, init, keys, run, show, subscribe
from streamseg.cli.segment import segment
from streamseg.cli.train import train_app
from streamseg.cli.weights import weights_app
from streamseg.errors import StreamsegError

if TYPE_CHECKING:
    from types import FrameType

app = typer.Typer(
    name="streamseg",
    help=(
        "Segments live video: every object of a webcam, RTSP camera or file gets a mask, on screen, in a recording, and as messages."
        "\n\nBegin with `streamseg demo`, then `streamseg run --source 0 --show`. Each command explains itself with --help."
    ),
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, run, show, subscribe, segment, annotate, check, init, keys, devices, doctor):
    app.command()(command)
app.add_typer(weights_app, name="weights")
app.add_typer(bench_app, name="bench")
app.add_typer(train_app, name="train")


def main() -> None:
    """Run a command; errors become one line and their exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")
        # Without a message there was no command, and the help has been printed.
        _fail(message and f"{message}; see streamseg --help", 2)
    except StreamsegError as error:
        _fail(str(error), error.exit_code)
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Unwind on SIGTERM as on Ctrl-C, so that locks and unfinished files are cleared away."""
    sys.exit(128 + number)


def _fail(message: str, status: int) -> None:
    if message:
        typer.echo(f"streamseg: {' '.join(message.split())}", err=True)
    sys.exit(status)
