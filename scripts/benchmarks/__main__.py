"""`./scripts/bench NAME [FOLDER…] [--json]`: runs one benchmark and prints its figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from streamseg.cli.bench import bench_pipeline
from streamseg.cli.options import AsJson
from streamseg.errors import StreamsegError

app = typer.Typer(
    name="./scripts/bench",
    help="Run one benchmark and print its figures.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("pipeline")(bench_pipeline)


@app.command("wire")
def bench_wire(as_json: AsJson = False) -> None:
    """Time and bytes of ten masks on the wire, and how long the client takes to import."""
    from benchmarks.report import print_figures
    from benchmarks.wire import bench_wire as measure

    print_figures(measure(), as_json=as_json)


@app.command("overlay")
def bench_overlay(as_json: AsJson = False) -> None:
    """How long ten masks with their boxes and labels take to draw on a 720p frame, beside supervision's annotators, on one core."""
    from benchmarks.overlay import bench_overlay as measure
    from benchmarks.report import print_figures

    print_figures(measure(), as_json=as_json)


@app.command("links")
def bench_links(as_json: AsJson = False) -> None:
    """How long a 720p frame takes from process to process, beside a multiprocessing.Queue and ZeroMQ."""
    from benchmarks.links import bench_links as measure
    from benchmarks.report import print_figures

    print_figures(measure(), as_json=as_json)


@app.command("models")
def bench_models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models to time besides: fastsam-s, fastsam-x, sam-vit-b, sam-vit-l, sam-vit-h; only mobilesam, for none.",
            show_default="fastsam-s sam-vit-b sam-vit-h",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="Times that each thing is done in each of two passes; slow ones less often.")
    ] = 10,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each program.", show_default="as many as there are cores")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="mobile_sam.pt", help="A checkpoint of MobileSAM, in place of seeded weights.", show_default=False
        ),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A picture, in place of a drawn one.", show_default=False)
    ] = None,
    detector_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="yolox_nano.onnx", help="YOLOX-Nano's weights, in place of the official file.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """MobileSAM here beside the original and Ultralytics' SAM, and the parameters of all models of the family.

    One run measures all with the same weights, picture, boxes and threads, each program in a process of its own, in turn; then each
    of them held to the AVX2 instruction set, which is what most laptops have. It says how alike the masks are as well. Allow a
    quarter of an hour, on a machine that does nothing else.

    The other programs are installed into an environment of their own in the cache on first use (40 MB); they share the PyTorch that is
    here. Ultralytics is licensed under the AGPL and is only run, as another program. Without a network their columns stay empty.

    Examples: `./scripts/bench models`, `./scripts/bench models mobilesam --rounds 3`,
    `./scripts/bench models --json > figures.json` for scripts/benchmarks/performance_table.py.
    """
    from rich.console import Console

    from benchmarks.model_rows import print_tables
    from benchmarks.models import DEFAULT_COMPARED, ModelsOptions
    from benchmarks.models import bench_models as measure
    from benchmarks.report import print_figures
    from streamseg.models.options import MOBILE_SAM
    from streamseg.sam.info import as_rich_table, parameter_table

    options = ModelsOptions(
        compared=DEFAULT_COMPARED if names is None else tuple(name for name in names if name != MOBILE_SAM),
        rounds=rounds,
        threads=threads,
        weights=weights,
        image=image,
        detector_weights=detector_weights,
    )
    figures = measure(options, lambda step: typer.echo(step, err=True))
    if as_json:
        print_figures(figures, as_json=True)
        return
    console = Console()
    console.print(as_rich_table(parameter_table()))
    print_tables(figures, console)


@app.command("nano")
def bench_nano(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR]...",
            help="Sequences (NAME/frames, NAME/masks: white on black), or COCO instances (instances.json, images).",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A network of `streamseg train nano`, in place of the one of the package.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The small segmenter beside GrabCut: time a box, and IoU with the truth from true boxes and from boxes that are 5% off.

    On sequences also with masks that plain flow carried over 5 and 15 frames; without folders only times and sizes. Photographs that
    the network was trained on are left out. Allow a minute for a thousand objects; most of it is GrabCut's.

    Example: `./scripts/bench nano sequences instances --json`
    """
    from benchmarks.nano import bench_nano as measure
    from benchmarks.nano_rows import print_nano
    from benchmarks.report import print_figures

    figures = measure(folders or [], weights, lambda step: typer.echo(step, err=True))
    if as_json:
        print_figures(figures, as_json=True)
    else:
        print_nano(figures)


@app.command("propagate")
def bench_propagate(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR]...",
            help="Sequences (NAME/frames, NAME/masks: one object, white on black).",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How good masks are after 1, 5, 15, 30 and 60 frames of being carried, beside rivals, and what carrying costs.

    The true masks of keyframes are carried over the frames that follow: left in place (frozen), by plain dense flow (flow), moved and
    scaled with their boxes (box), as the pipeline does (ours), and the same with the small segmenter (ours_refined). On sequences the
    boxes are those of the true masks. Drawn scenes are always measured, with boxes that are 3% off: translation, scale, rotation, two
    objects that cross, one behind a wall, a fast one, and a shaking camera; over the sequences' first pictures, where there are any.

    Printed is the mean IoU with the truth; a lost mask counts as 0. Times are of one core, for five objects on a 720p frame. Allow
    three minutes, and one more for 500 frames of sequences, on a machine that does nothing else.

    Example: `./scripts/bench propagate sequences --json`
    """
    from benchmarks.propagate import bench_propagate as measure
    from benchmarks.propagate_rows import print_propagate
    from benchmarks.report import print_figures

    figures = measure(folders or [], lambda step: typer.echo(step, err=True))
    if as_json:
        print_figures(figures, as_json=True)
    else:
        print_propagate(figures)


def main() -> None:
    """Run a benchmark; an error becomes one line and its exit code."""
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")
        _fail(message and f"{message}; see ./scripts/bench --help", 2)
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
