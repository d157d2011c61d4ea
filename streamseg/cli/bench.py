"""`streamseg bench`: figures of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamseg.cli.options import AsJson

bench_app = typer.Typer(help="Measure on this machine and print the figures.", no_args_is_help=True)


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
