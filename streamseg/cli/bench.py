"""`streamseg bench`: figures of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamseg.cli.options import AsJson

bench_app = typer.Typer(help="Measure on this machine and print the figures.", no_args_is_help=True)


@bench_app.command("wire")
def bench_wire(as_json: AsJson = False) -> None:
    """Time and bytes of ten masks on the wire, and how long the client takes to import."""
    from streamseg.bench.report import print_figures
    from streamseg.bench.wire import bench_wire as measure

    print_figures(measure(), as_json=as_json)


@bench_app.command("overlay")
def bench_overlay(as_json: AsJson = False) -> None:
    """How long ten masks with their boxes and labels take to draw on a 720p frame, beside supervision's annotators, on one core."""
    from streamseg.bench.overlay import bench_overlay as measure
    from streamseg.bench.report import print_figures

    print_figures(measure(), as_json=as_json)


@bench_app.command("links")
def bench_links(as_json: AsJson = False) -> None:
    """How long a 720p frame takes from process to process, beside a multiprocessing.Queue and ZeroMQ."""
    from streamseg.bench.links import bench_links as measure
    from streamseg.bench.report import print_figures

    print_figures(measure(), as_json=as_json)


@bench_app.command("pipeline")
def bench_pipeline(
    seconds: Annotated[
        float, typer.Option(min=2, help="How long the pipeline is counted, from its first keyframe on.")
    ] = 60.0,
    detector_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="yolox_nano.onnx", help="YOLOX-Nano's weights, in place of the official file.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a whole running pipeline reaches: 720p at 30 frames a second in real time, five objects that cross, two subscribers.

    YOLOX-Nano and MobileSAM (random weights) compute on every frame and keyframe as always. Their answers are thrown away, and the truth
    takes their place: boxes whose edges are off by 3% and of which 5% are missed, and exact masks. So what is measured is how old, how
    many and how well carried the masks are that subscribers get, and not how well the networks see.

    Before it the segmenter is measured alone, and after it the pipeline once more while it records. Allow twice the seconds and a minute
    more, on a machine that does nothing else.

    Example: `streamseg bench pipeline --json`
    """
    from streamseg.bench.pipeline import bench_pipeline as measure
    from streamseg.bench.pipeline_rows import print_pipeline
    from streamseg.bench.report import print_figures

    figures = measure(seconds, detector_weights, lambda step: typer.echo(step, err=True))
    if as_json:
        print_figures(figures, as_json=True)
    else:
        print_pipeline(figures)


@bench_app.command("models")
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

    Examples: `streamseg bench models`, `streamseg bench models mobilesam --rounds 3`,
    `streamseg bench models --json > figures.json` for scripts/performance_table.py.
    """
    from rich.console import Console

    from streamseg.bench.model_rows import print_tables
    from streamseg.bench.models import DEFAULT_COMPARED, ModelsOptions
    from streamseg.bench.models import bench_models as measure
    from streamseg.bench.report import print_figures
    from streamseg.models.segmenter_names import MOBILE_SAM
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


@bench_app.command("nano")
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

    Example: `streamseg bench nano sequences instances --json`
    """
    from streamseg.bench.nano import bench_nano as measure
    from streamseg.bench.nano_rows import print_nano
    from streamseg.bench.report import print_figures

    figures = measure(folders or [], weights, lambda step: typer.echo(step, err=True))
    if as_json:
        print_figures(figures, as_json=True)
    else:
        print_nano(figures)


@bench_app.command("propagate")
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

    Example: `streamseg bench propagate sequences --json`
    """
    from streamseg.bench.propagate import bench_propagate as measure
    from streamseg.bench.propagate_rows import print_propagate
    from streamseg.bench.report import print_figures

    figures = measure(folders or [], lambda step: typer.echo(step, err=True))
    if as_json:
        print_figures(figures, as_json=True)
    else:
        print_propagate(figures)
