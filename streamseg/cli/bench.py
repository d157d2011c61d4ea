"""`streamseg bench`: measures this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamseg.cli.options import AsJson, Assignments
from streamseg.cli.output import print_json

bench_app = typer.Typer(help="Measure this machine and print the figures.", no_args_is_help=True)


DetectorWeights = Annotated[
    Path | None,
    typer.Option(metavar="F.onnx", help="A YOLOX export in place of spot.", show_default=False),
]


@bench_app.callback()
def bench() -> None:
    """Measure this machine and print the figures."""


@bench_app.command("pipeline")
def bench_pipeline(
    seconds: Annotated[
        float, typer.Option(min=2, help="How long the pipeline is counted, from its first keyframe on.")
    ] = 60.0,
    objects: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Measure many small objects with nano instead, and what each costs.",
            show_default=False,
        ),
    ] = None,
    assignments: Assignments = None,
    detector_weights: DetectorWeights = None,
    as_json: AsJson = False,
) -> None:
    """Measure a whole running pipeline on this machine.

    The pipeline runs in real time: 1280x720 at 30 frames a second, five objects that cross, two subscribers. spot and
    MobileSAM (random weights) run in full, but the pipeline ignores their output. It continues with the true masks
    of the drawn scene, and with boxes whose edges are wrong by 3% and of which 5% are missing. So the figures show how
    many masks subscribers receive, how old they are and how well they fit, not how well the networks work.

    Before the pipeline, MobileSAM runs alone; after it, the pipeline runs again while it records. The whole takes twice
    the seconds and one more minute. Run nothing else meanwhile.

    With --objects, a crowd of 12x12 to 200x200 pixels is drawn in 640x360, its boxes are known, and nano makes the
    masks. No weights are needed. The figures also show what each step of a frame costs per object.

    Examples: `streamseg bench pipeline`, `streamseg bench pipeline --set segmenter.imgsz=512 --json`,
    `streamseg bench pipeline --objects 100 --seconds 20`
    """
    if objects is not None:
        _bench_crowd(objects, seconds, assignments or [], as_json=as_json)
        return
    from streamseg.bench.pipeline import bench_pipeline as measure
    from streamseg.bench.pipeline import print_pipeline

    figures = measure(seconds, assignments or [], detector_weights, lambda step: typer.echo(step, err=True))
    if as_json:
        import msgspec

        print_json(msgspec.json.encode(figures))
    else:
        print_pipeline(figures)


@bench_app.command("cameras")
def bench_cameras(
    seconds: Annotated[float, typer.Option(min=2, help="How long each run is counted.")] = 30.0,
    sources: Annotated[
        list[int] | None, typer.Option(min=1, max=16, help="Number of sources in one run; repeat it for several runs.")
    ] = None,
    separate: Annotated[
        int, typer.Option(min=0, max=16, help="Also measure so many separate runs of one source; 0 leaves them out.")
    ] = 4,
    assignments: Assignments = None,
    detector_weights: DetectorWeights = None,
    as_json: AsJson = False,
) -> None:
    """Measure runs with 1, 2, 4 and 8 cameras on this machine.

    Each camera is a drawn scene of 640x360 at 15 frames a second with three objects. As in `bench pipeline`, spot and
    MobileSAM (random weights) run in full, and the pipeline continues with the truth of the scene. Beside it, four
    separate runs of one camera each, at the same time. Run nothing else meanwhile.

    Examples: `streamseg bench cameras`, `streamseg bench cameras --sources 4 --separate 0 --json`
    """
    from streamseg.bench.cameras import bench_cameras as measure
    from streamseg.bench.cameras import print_cameras

    counts = sources or [1, 2, 4, 8]
    figures = measure(
        seconds, counts, separate or None, assignments or [], detector_weights, lambda step: typer.echo(step, err=True)
    )
    if as_json:
        import msgspec

        print_json(msgspec.json.encode(figures))
    else:
        print_cameras(figures)


def _bench_crowd(objects: int, seconds: float, assignments: list[str], *, as_json: bool) -> None:
    from streamseg.bench.crowd import bench_crowd, print_crowd

    figures = bench_crowd(objects, seconds, assignments, lambda step: typer.echo(step, err=True))
    if as_json:
        import msgspec

        print_json(msgspec.json.encode(figures))
    else:
        print_crowd(figures)
