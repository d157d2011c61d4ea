"""`streamseg train`: trains networks on the user's own objects."""

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
            help="Network to start from, or `imagenet` to start from ImageNet features.",
            show_default="the network of the package",
        ),
    ] = None,
    passes: Annotated[
        float, typer.Option(min=0.01, help="Average number of samples of each object; from imagenet, 30 or more.")
    ] = 10,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same network on the same processor.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1; auto uses a GPU if there is one.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare samples; with a GPU, one per core.")] = 1,
    overwrite: Overwrite = False,
) -> None:
    """Train the small segmenter `nano` on your own outlines; needs `pip install 'streamseg\\[train]'`.

    The training starts from the network of the package, holds out every fifth photograph for measuring, and writes one
    file for `--segmenter nano --set segmenter.weights=FILE`. `streamseg annotate` makes outlines to start with.

    Stop it at any time: the same command resumes (FILE.checkpoint). Two cores train on 70 to 80 objects per second,
    a GPU with 16 cores on about a thousand.

    Example: `streamseg train nano --data instances.json --images photos --output mine.onnx`
    """
    from streamseg.extras import needed_for
    from streamseg.monitor.progress import WorkDisplay

    with needed_for("training", "train"):
        from streamseg.train.nano import TrainingOptions
        from streamseg.train.nano import train_nano as train

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
        typer.echo("interrupted; the progress is kept, and the same command resumes", err=True)
        raise
    if training.held_out:
        typer.echo(
            f"mean IoU of {training.held_out} held-out objects: {training.iou:.3f},"
            f" {training.iou_jittered:.3f} with boxes 5% off"
        )
    typer.echo(
        f"{output}: trained on {training.objects} objects;"
        f" run it with --segmenter nano --set segmenter.weights={output}"
    )
