"""`streamseg bench`: figures of this machine."""

from __future__ import annotations

import typer

from streamseg.cli.options import AsJson

bench_app = typer.Typer(help="Measure on this machine and print the figures.", no_args_is_help=True)


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
