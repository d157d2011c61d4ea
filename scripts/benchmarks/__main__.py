"""`./scripts/bench NAME [FOLDER…] [--json]`: runs one benchmark and prints its figures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer

from streamseg.cli.bench import bench_cameras, bench_pipeline
from streamseg.cli.options import AsJson
from streamseg.cli.output import print_json
from streamseg.errors import StreamsegError

app = typer.Typer(
    name="./scripts/bench",
    help="Run one benchmark and print its figures. Each explains itself: `./scripts/bench NAME --help`.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("pipeline")(bench_pipeline)
app.command("cameras")(bench_cameras)
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
_Figures = TypeVar("_Figures", bound=msgspec.Struct)
YoloxNanoWeights = Annotated[
    Path | None, typer.Option(metavar="yolox_nano.onnx", help="Weights of YOLOX-Nano other than the official.")
]


@app.command("links")
def links(as_json: AsJson = False) -> None:
    """Latency of frames between processes, beside a queue and ZeroMQ."""
    from benchmarks.links import bench_links
    from benchmarks.measure import print_fields

    _show(bench_links(), print_fields, as_json=as_json)


@app.command("wire")
def wire(as_json: AsJson = False) -> None:
    """Time and bytes of ten masks on the wire."""
    from benchmarks.measure import print_fields
    from benchmarks.wire import bench_wire

    _show(bench_wire(), print_fields, as_json=as_json)


@app.command("overlay")
def overlay(as_json: AsJson = False) -> None:
    """Time to draw ten masks, beside supervision's annotators."""
    from benchmarks.measure import print_fields
    from benchmarks.overlay import bench_overlay

    _show(bench_overlay(), print_fields, as_json=as_json)


@app.command("propagate")
def propagate(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]...", help="Sequences: NAME/frames, and NAME/masks, one object, white on black."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Quality and speed of propagated masks, beside rivals.

    A true mask is moved forward by 1 to 60 frames in five ways and compared with the truth: not moved (frozen), by
    plain dense flow (flow), with its box (box), as in the pipeline (ours), and the same with refinement (ours_refined).
    Sequences use the boxes of the true masks. Drawn scenes are always measured, with boxes that are 3% off:
    translation, scale, rotation, two objects that cross, one behind a wall, a fast one, and a shaking camera. Their
    background is the first picture of each sequence.

    It takes three minutes, and one more for 500 frames of sequences. Run nothing else meanwhile.
    """
    from benchmarks.propagate import bench_propagate, print_propagate

    _show(bench_propagate(folders or [], _report), print_propagate, as_json=as_json)


@app.command("tracks")
def tracks(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Folder with cups.mp4 and coffee.mp4 of the SAM 2 demo gallery.", show_default=False),
    ] = None,
    detector_weights: YoloxNanoWeights = None,
    as_json: AsJson = False,
) -> None:
    """Steadiness of track numbers, beside one ByteTrack per class.

    Drawn scenes have a detector that misses objects, changes their classes, and finds some twice or where nothing is.
    Clips have YOLOX-Nano and a truth that was marked by hand. Counted are the numbers that each object has, those on
    several objects, identity switches, fragments and IDF1, and pairs of masks of one object. ByteTrack runs if the
    package `trackers` is installed. It takes three minutes.
    """
    from benchmarks.tracks import bench_tracks, print_tracks

    _show(bench_tracks(folder, detector_weights, _report), print_tracks, as_json=as_json)


@app.command("nano")
def nano(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]...",
            help="Sequences (NAME/frames, NAME/masks: white on black) or COCO instances (instances.json, images).",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A network of `streamseg train nano` instead of the package's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Quality and speed of the small segmenter, beside GrabCut.

    It measures IoU with the truth from true boxes and from boxes that are 5% off; on sequences also with masks that
    plain flow propagated over 5 and 15 frames. Photographs that the network was trained on are left out. Without
    folders it measures speed only. A thousand objects take a minute, most of it GrabCut's.
    """
    from benchmarks.nano import bench_nano, print_nano

    _show(bench_nano(folders or [], weights, _report), print_nano, as_json=as_json)


@app.command("spot")
def spot(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER]...", help="COCO instances (instances.json, images).")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file of `streamseg train spot` instead of the package's.")
    ] = None,
    detector_weights: YoloxNanoWeights = None,
    as_json: AsJson = False,
) -> None:
    """Quality and speed of the packaged detector, beside YOLOX-Nano.

    It measures the average precision at an IoU of 0.5 and how well confidences fit, on photographs that spot was not
    trained on. Without folders it measures speed only.
    """
    from benchmarks.spot import bench_spot, print_spot

    _show(bench_spot(folders or [], weights, detector_weights, _report), print_spot, as_json=as_json)


@app.command("models")
def models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models to time besides: fastsam-s, fastsam-x, sam-vit-b, sam-vit-l, sam-vit-h; mobilesam for none.",
            show_default="fastsam-s sam-vit-b sam-vit-h",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each of two passes; slow programs do fewer.")] = 10,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each program.", show_default="one on each core")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="mobile_sam.pt", help="A checkpoint of MobileSAM instead of seeded weights.")
    ] = None,
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="A picture instead of a drawn one.")] = None,
    detector_weights: YoloxNanoWeights = None,
    as_json: AsJson = False,
) -> None:
    """Speed and masks of MobileSAM, beside other implementations.

    All programs use the same weights, picture, boxes and threads, each in a process of its own, in turn; then each
    again limited to the AVX2 instruction set, as on most laptops. The agreement of the masks and the numbers of
    parameters are printed too. It takes a quarter of an hour; run nothing else meanwhile.

    The first run installs the other programs into an environment of their own in the cache (40 MB); they share PyTorch
    with this one. Ultralytics is licensed under the AGPL and only runs as another program. Without a network their
    columns stay empty.
    """
    from benchmarks.model_table import print_models
    from benchmarks.models import DEFAULT_COMPARED, ModelsOptions, bench_models

    options = ModelsOptions(
        compared=DEFAULT_COMPARED if names is None else tuple(name for name in names if name != "mobilesam"),
        rounds=rounds,
        threads=threads,
        weights=weights,
        image=image,
        detector_weights=detector_weights,
    )
    _show(bench_models(options, _report), print_models, as_json=as_json)


@app.command("table")
def table(
    figures: Annotated[Path, typer.Argument(help="What `./scripts/bench models --json` printed.")],
    document: Annotated[Path, typer.Argument(help="The document with the table.")] = DOCUMENT,
) -> None:
    """Update the table in docs/performance.md from figures of `models`."""
    from benchmarks.model_table import update_document

    update_document(figures, document)


@app.command("compare")
def compare(
    clip: Annotated[Path, typer.Argument(help="A video file.")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT.mp4", help="The video to write; it is overwritten.")],
    start: Annotated[float, typer.Option(metavar="S", help="First second of the clip.")] = 0.0,
    seconds: Annotated[float, typer.Option(metavar="S", help="Seconds of the clip.")] = 10.0,
    stills: Annotated[
        list[int] | None, typer.Option("--still", metavar="N", help="Also write frame N as OUTPUT-N.jpg. Repeatable.")
    ] = None,
    detector: Annotated[str, typer.Option(metavar="NAME", help="The detector, or a YOLOX export (.onnx).")] = "motion",
    segmenter: Annotated[str, typer.Option(metavar="NAME", help="The segmenter.")] = "nano",
    segmenter_weights: Annotated[Path | None, typer.Option(metavar="FILE", help="Weights of the segmenter.")] = None,
    interval: Annotated[int, typer.Option(metavar="N", min=1, help="Frames between keyframes.")] = 30,
    latency: Annotated[int, typer.Option(metavar="N", min=0, help="Frames until the masks arrive.")] = 25,
) -> None:
    """A video of frozen and propagated masks, side by side."""
    from benchmarks.compare import CompareOptions
    from benchmarks.compare import compare as write_video

    write_video(
        CompareOptions(
            clip, output, start, seconds, tuple(stills or ()), detector, segmenter, segmenter_weights, interval, latency
        )
    )


@app.command("card")
def card() -> None:
    """The picture of nano's model card."""
    from benchmarks.card import draw_card

    draw_card()


def _report(step: str) -> None:
    typer.echo(step, err=True)


def _show(figures: _Figures, print_figures: Callable[[_Figures], None], *, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.json.encode(figures))
    else:
        print_figures(figures)


def main() -> None:
    """Run a benchmark; an error becomes one line and its exit code."""
    try:
        status = app(standalone_mode=False, prog_name="./scripts/bench")
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")
        names = ", ".join(str(command.name) for command in app.registered_commands)
        # Without a name there is no message: the list has been printed.
        _fail(message and f"{message}; expected one of {names}, and `--help` explains each", 2)
    except StreamsegError as error:
        _fail(str(error), error.exit_code)
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> None:
    if message:
        typer.echo(f"bench: {' '.join(message.split())}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
