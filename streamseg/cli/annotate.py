"""The command that makes data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamseg.errors import SourceError
from streamseg.threads import available_cores

if TYPE_CHECKING:
    from streamseg.annotate.work import Summary


def annotate(
    source: Annotated[Path, typer.Argument(help="A folder of pictures, a picture, or a video.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="The data set's folder; begun before with the same options, it is gone on with."
        ),
    ],
    data_format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="yolo, coco or anylabeling.")],
    detector: Annotated[
        str,
        typer.Option(
            help="What finds objects: yolox-nano, -tiny, -s, -m, -l, -x, a YOLOX export (F.onnx); in videos also motion."
        ),
    ] = "yolox-nano",
    detector_weights: Annotated[
        Path | None,
        typer.Option(metavar="F.onnx", help="The detector's weights; fetched where not given.", show_default=False),
    ] = None,
    segmenter: Annotated[
        str, typer.Option(help="What draws their masks: mobilesam, sam-vit-b, -l, -h, or nano.")
    ] = "mobilesam",
    segmenter_weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The segmenter's weights; fetched where not given.", show_default=False),
    ] = None,
    conf: Annotated[float, typer.Option(help="Leave out objects below this confidence.")] = 0.25,
    iou: Annotated[
        float, typer.Option(help="Of two boxes of a class that overlap by more than this, keep one.")
    ] = 0.45,
    imgsz: Annotated[
        int | None,
        typer.Option(help="Longer side of the detector's input; the model's own where not given.", show_default=False),
    ] = None,
    max_det: Annotated[int, typer.Option(help="At most so many objects a picture.")] = 300,
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Keep these classes only, by name or number.", show_default=False),
    ] = None,
    every: Annotated[int, typer.Option(metavar="N", help="Annotate every Nth frame of a video.")] = 1,
    device: Annotated[str, typer.Option(help="Where the segmenter computes: cpu, cuda, or auto.")] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of the models; as many as the machine has, where not given.", show_default=False),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Remove what was annotated in DIR before, and begin anew.")
    ] = False,
) -> None:
    """Make a data set: find the objects in pictures, draw their masks, and write both as labels.

    DIR holds the pictures (frames of a video as JPEG) in images/, and

      yolo          labels/NAME.txt and data.yaml: one polygon an object
      coco          annotations.json: masks exactly, as run-length encoding
      anylabeling   images/NAME.json beside each picture: polygons to correct

    Interrupted, the same command goes on where it was; with new pictures in the folder, it does those.

    \b
    Examples:
      streamseg annotate photos --output dataset --format yolo
      streamseg annotate clip.mp4 --every 10 --output dataset --format coco
      streamseg annotate photos --output dataset --format anylabeling --classes person,dog --conf 0.4

    Exit codes: 0 done, 2 usage or settings, 3 the source or some of its pictures cannot be read, 4 weights, 130 and 143 ended by a signal.
    """
    from rich.console import Console

    from streamseg.annotate.command import AnnotateOptions, annotate_source
    from streamseg.models.options import Compute, DetectorSettings, SegmenterSettings

    threads = available_cores() if threads is None else threads
    options = AnnotateOptions(
        source=source,
        output=output,
        format=data_format,
        detector=DetectorSettings(
            model=detector,
            weights=None if detector_weights is None else str(detector_weights),
            conf=conf,
            iou=iou,
            imgsz=imgsz,
            max_det=max_det,
            classes=None if classes is None else tuple(map(_class, classes.split(","))),
        ),
        segmenter=SegmenterSettings(
            model=segmenter, weights=None if segmenter_weights is None else str(segmenter_weights)
        ),
        compute=Compute(device=device, threads=threads),
        every=every,
        anew=yes,
    )
    try:
        summary = annotate_source(options, Console(stderr=True))
    except (KeyboardInterrupt, SystemExit):
        typer.echo(f"interrupted; what is done is kept in {output}, and the same command goes on from there", err=True)
        raise
    for line in _lines(summary, output):
        typer.echo(line)
    if summary.unreadable:
        raise SourceError(
            f"{_count(summary.unreadable, 'file')} could not be read to the end, see above; put that right and run again"
        )


def _class(text: str) -> str | int:
    text = text.strip()
    return int(text) if text.isdecimal() else text


def _lines(summary: Summary, output: Path) -> list[str]:
    """What was done, for a person."""
    before = (
        f", {_count(summary.before, 'picture')} {'was' if summary.before == 1 else 'were'} done before"
        if summary.before
        else ""
    )
    counts = [
        f"  {count:6}  {name}" for name, count in sorted(summary.objects.items(), key=lambda item: (-item[1], item[0]))
    ]
    objects = _count(summary.objects.total(), "object")
    return [f"{output}: annotated {_count(summary.pictures, 'picture')} with {objects}{before}", *counts]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
