"""`streamseg bench`: figures of this machine."""

from __future__ import annotations

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


@bench_app.command("pipeline")
def bench_pipeline(as_json: AsJson = False) -> None:
    """How long a 720p frame takes from process to process, beside a multiprocessing.Queue and ZeroMQ."""
    from streamseg.bench.pipeline import bench_pipeline as measure
    from streamseg.bench.report import print_figures

    print_figures(measure(), as_json=as_json)


@bench_app.command("models")
def bench_models(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Which to time: mobilesam, sam-vit-b, sam-vit-l, sam-vit-h.", show_default="mobilesam and sam-vit-b"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Parameters of all models of the SAM family beside the published ones, and how fast some are here.

    Random weights do, so nothing is fetched. SAM's own encoders take seconds a frame on a CPU: allow a minute or two for each, on a machine
    that does nothing else.
    """
    from rich.console import Console

    from streamseg.bench.models import bench_models as measure
    from streamseg.bench.models import speed_table
    from streamseg.bench.report import print_figures
    from streamseg.sam.info import as_rich_table, parameter_table

    figures = measure(names or ["mobilesam", "sam-vit-b"], progress=lambda step: typer.echo(f"measuring {step}", err=True))
    if as_json:
        print_figures(figures, as_json=True)
        return
    console = Console()
    console.print(as_rich_table(parameter_table()))
    console.print(speed_table(figures))
