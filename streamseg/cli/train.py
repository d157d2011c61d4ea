"""`streamseg train`: trains networks on the user's own objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from streamseg.cli.options import Overwrite

train_app = typer.Typer(help="Train a segmenter or a detector on objects of your own.", no_args_is_help=True)

_NAMED = 8
"""Classes whose precision is printed."""

Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1; auto uses a GPU if there is one.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same network on the same processor.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that prepare samples; with a GPU, one per core.")]
Images = Annotated[
    list[Path],
    typer.Option(metavar="DIR", help="The folder of its photographs; one for each file.", show_default=False),
]
Network = Annotated[
    Path, typer.Option(metavar="FILE", help="The network to write, such as mine.onnx.", show_default=False)
]


@train_app.callback()
def train() -> None:
    """Train a segmenter or a detector on objects of your own."""


@contextmanager
def _resumable() -> Iterator[None]:
    """Say after an interruption that the same command resumes."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        typer.echo("interrupted; the progress is kept, and the same command resumes", err=True)
        raise


_LARGE = """Train a larger `nano`, which sees more detail and takes more time.

It reads 192x192 pixels of each object instead of 96x96. All options are those of `nano`, and so is the way to run it:
`--segmenter nano --set segmenter.weights=FILE`. It needs `pip install 'streamseg\\[train]'`.

Example: `streamseg train nano-l --data instances.json --images photos --output mine.onnx`
"""


@train_app.command("nano-l", help=_LARGE)
@train_app.command("nano")
def train_nano(
    context: typer.Context,
    data: Annotated[
        list[Path],
        typer.Option(
            metavar="COCO.json",
            help="Outlines in COCO's format for instances; may be given several times.",
            show_default=False,
        ),
    ],
    images: Images,
    output: Network,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Network to start from, or `imagenet` to start from ImageNet features.",
            show_default="the network of the package, if it has one of this size",
        ),
    ] = None,
    passes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Average number of samples of each object.", show_default="10; from imagenet, 30"),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    workers: Workers = 1,
    overwrite: Overwrite = False,
) -> None:
    """Train the small segmenter `nano` on your own outlines; needs `pip install 'streamseg\\[train]'`.

    The training starts from the network of the package, holds out every fifth photograph of the first file for
    measuring, and writes one file for `--segmenter nano --set segmenter.weights=FILE`. `streamseg annotate` makes
    outlines to start with.

    Stop it at any time: the same command resumes (FILE.checkpoint). Two cores train on 70 to 80 objects per second,
    a GPU with 16 cores on about a thousand.

    Example: `streamseg train nano --data instances.json --images photos --output mine.onnx`
    """
    from streamseg.extras import needed_for
    from streamseg.monitor.progress import WorkDisplay

    with needed_for("training", "train"):
        from streamseg.train.nano import TrainingOptions
        from streamseg.train.nano import train_nano as train
        from streamseg.train.network import SIZES

    options = TrainingOptions(
        data=tuple(data),
        images=tuple(images),
        output=output,
        size=SIZES[context.command.name or ""],
        start=start,
        passes=passes,
        seed=seed,
        device=device,
        workers=workers,
        overwrite=overwrite,
    )
    with _resumable(), WorkDisplay("training", None) as display:
        training = train(options, display.update, lambda line: typer.echo(line, err=True))
    if training.held_out:
        typer.echo(
            f"mean IoU of {training.held_out} held-out objects: {training.iou:.3f},"
            f" {training.iou_jittered:.3f} with boxes 5% off, {training.iou_point:.3f} from a point in the middle"
        )
    typer.echo(
        f"{output}: trained on {training.objects} objects;"
        f" run it with --segmenter nano --set segmenter.weights={output}"
    )


@train_app.command("spot")
def train_spot(
    data: Annotated[
        list[Path],
        typer.Option(
            metavar="COCO.json",
            help="Boxes and classes in COCO's format for instances; may be given several times.",
            show_default=False,
        ),
    ],
    images: Images,
    output: Network,
    classes: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="Classes to find.", show_default="those of the first file"),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Network to start from: of an earlier training, or yolox_nano.onnx.",
            show_default="the network of the package",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="ONNX",
            help="A YOLOX export with the same classes, which names what the labels leave out.",
            show_default="none",
        ),
    ] = None,
    passes: Annotated[float, typer.Option(min=0.01, help="Average number of samples of each photograph.")] = 30,
    seed: Seed = 0,
    device: Device = "auto",
    workers: Workers = 1,
    overwrite: Overwrite = False,
) -> None:
    """Train the small detector `spot` on your own boxes; needs `pip install 'streamseg\\[train]'`.

    The training starts from the network of the package, with its weights for classes of the same names. Every
    fifth photograph of the first file is held out for measuring. The network is for `--detector FILE`.
    `streamseg annotate` makes boxes to start with; correct them, and train on the result.

    Stop it at any time: the same command resumes (FILE.checkpoint). A core trains on some eleven photographs a second.

    Example: `streamseg train spot --data forklifts.json --images photos --classes forklift,pallet --output mine.onnx`
    """
    from streamseg.extras import needed_for
    from streamseg.monitor.progress import WorkDisplay

    with needed_for("training", "train"):
        from streamseg.train.spot.training import SpotOptions
        from streamseg.train.spot.training import train_spot as train

    options = SpotOptions(
        data=tuple(data),
        images=tuple(images),
        output=output,
        classes=None if classes is None else tuple(name.strip() for name in classes.split(",")),
        start=start,
        teacher=teacher,
        passes=passes,
        seed=seed,
        device=device,
        workers=workers,
        overwrite=overwrite,
    )
    with _resumable(), WorkDisplay("training", None) as display:
        training = train(options, display.update, lambda line: typer.echo(line, err=True))
    if training.precision is not None:
        best = sorted(training.precision.of_class.items(), key=lambda item: -item[1])[:_NAMED]
        named = ", ".join(f"{name} {precision:.2f}" for name, precision in best)
        typer.echo(
            f"average precision (IoU 0.5) on {training.held_out} held-out photographs:"
            f" {training.precision.mean:.3f}; {named}"
        )
    if training.reliability_error is not None:
        typer.echo(f"confidences are off by {training.reliability_error:.3f} there, on average")
    typer.echo(f"{output}: trained on {training.photographs} photographs; run it with --detector {output}")
