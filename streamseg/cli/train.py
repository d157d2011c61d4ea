"""`streamseg train`: networks for a user's own objects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamseg.cli.options import Overwrite

train_app = typer.Typer(help="Train a segmenter on objects of your own.", no_args_is_help=True)


@train_app.callback()
def train() -> None:
    """Train a segmenter on objects of your own."""


@train_app.command("nano")
def train_nano(
    data: Annotated[
        Path, typer.Option(metavar="COCO.json", help="Outlines in COCO's format for instances.", show_default=False)
    ],
    images: Annotated[Path, typer.Option(metavar="DIR", help="The folder of its photographs.", show_default=False)],
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="The network to write, such as mine.onnx.", show_default=False)
    ],
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="An earlier training to go on from, or `imagenet` to begin at the beginning.",
            show_default="the network of the package",
        ),
    ] = None,
    passes: Annotated[
        float, typer.Option(min=0.01, help="How often each object is shown on average; from imagenet, 30 or more.")
    ] = 10,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same network, on the same processor.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1; auto takes a GPU where there is one.")] = "auto",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that prepare samples; a GPU wants one for each core.")
    ] = 1,
    overwrite: Overwrite = False,
) -> None:
    """Train the small segmenter `nano` on your own outlines; needs `pip install 'streamseg\\[train]'`.

    It begins with the network of the package, holds out every fifth photograph, measures on those, and writes one file, which
    `--segmenter nano --set segmenter.weights=FILE` runs. `streamseg annotate` makes such outlines to begin with.

    Stop it at any time: the same command goes on where it was (FILE.checkpoint). On two cores it learns from 70 to 80 objects a second,
    about a thousand on a GPU with 16 cores beside it.

    Example: `streamseg train nano --data instances.json --images photos --output mine.onnx`
    """
    from streamseg.errors import UsageError
    from streamseg.monitor.progress import WorkDisplay

    try:
        from streamseg.train.nano import TrainingOptions
        from streamseg.train.nano import train_nano as train
    except ModuleNotFoundError as error:
        raise UsageError(f"training needs the package {error.name}; pip install 'streamseg[train]'") from error

    options = TrainingOptions(
        data=data,
        images=images,
        output=output,
        start=start,
        passes=passes,
        seed=seed,
        device=device,
        workers=workers,
        overwrite=overwrite,
    )
    try:
        with WorkDisplay("training", None) as display:
            training = train(options, display.update, lambda line: typer.echo(line, err=True))
    except (KeyboardInterrupt, SystemExit):
        typer.echo("interrupted; what was learnt is kept, and the same command goes on from there", err=True)
        raise
    if training.held_out:
        typer.echo(
            f"mean IoU of {training.held_out} objects that were held out: {training.iou:.3f}, {training.iou_jittered:.3f} with boxes 5% off"
        )
    typer.echo(
        f"{output}: trained on {training.objects} objects; run it with --segmenter nano --set segmenter.weights={output}"
    )
