"""The command that makes data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamseg.cli.output import print_line
from streamseg.errors import SourceError
from streamseg.models.options import MAX_DET_OF_A_PICTURE
from streamseg.monitor.patience import Announced
from streamseg.threads import available_cores

if TYPE_CHECKING:
    from streamseg.annotate.work import Summary


def annotate(
    source: Annotated[str, typer.Argument(help="A folder of pictures, a picture, or a video.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The data set's folder; an earlier run with the same options is resumed."),
    ],
    data_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="yolo, coco, coco-polygons or anylabeling.")
    ],
    detector: Annotated[
        str,
        typer.Option(
            help="Detects objects: spot, yolox-nano, -tiny, -s, -m, -l, -x, a YOLOX export (F.onnx); in videos also "
            "motion."
        ),
    ] = "spot",
    detector_weights: Annotated[
        Path | None,
        typer.Option(metavar="F.onnx", help="The detector's weights.", show_default="downloaded"),
    ] = None,
    segmenter: Annotated[str, typer.Option(help="Segments them: mobilesam, sam-vit-b, -l, -h, or nano.")] = "mobilesam",
    segmenter_weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The segmenter's weights.", show_default="downloaded"),
    ] = None,
    conf: Annotated[float, typer.Option(help="Least confidence of an object.")] = 0.25,
    iou: Annotated[
        float, typer.Option(help="Two boxes of a class that overlap by more than this are one object.")
    ] = 0.45,
    imgsz: Annotated[
        int | None,
        typer.Option(help="Longer side of the detector's input.", show_default="the model's own"),
    ] = None,
    max_det: Annotated[int, typer.Option(help="Largest number of objects per picture.")] = MAX_DET_OF_A_PICTURE,
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Keep only these classes, by name or number.", show_default="all"),
    ] = None,
    every: Annotated[int, typer.Option(metavar="N", help="Annotate every Nth frame of a video.")] = 1,
    device: Annotated[str, typer.Option(help="Device of the segmenter: cpu, cuda, or auto.")] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of the models.", show_default="all cores"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove earlier results in DIR and start over.")] = False,
) -> None:
    """Make a data set: detect and segment the objects in pictures, and write them as labels.

    DIR holds the pictures (frames of a video as JPEG) in images/, and

      yolo           labels/NAME.txt, data.yaml, classes.txt: one polygon per object
      coco           annotations/instances_default.json: masks as run-length encoding
      coco-polygons  the same file, with polygons for tools that refuse run lengths
      anylabeling    images/NAME.json beside each picture: polygons to correct

    The same command resumes after an interruption, and annotates pictures that were added to the folder.

    \b
    Examples:
      streamseg annotate photos --output dataset --format yolo
      streamseg annotate clip.mp4 --every 10 --output dataset --format coco
      streamseg annotate photos --output dataset --format anylabeling --classes person,dog --conf 0.4

    Exit codes: 0 done, 2 usage or settings, 3 source or some pictures unreadable, 4 weights, 130 and 143 signal.
    """
    with Announced("loading streamseg"):
        from rich.console import Console

        from streamseg.annotate.command import AnnotateOptions, annotate_source
        from streamseg.annotate.models import check_varies
        from streamseg.models.options import Compute, DetectorSettings, SegmenterSettings
        from streamseg.paths import local_path

    check_varies(detector)
    threads = available_cores() if threads is None else threads
    options = AnnotateOptions(
        source=local_path(source, "a folder of pictures, a picture, or a video"),
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
        restart=yes,
    )
    try:
        summary = annotate_source(options, Console(stderr=True))
    except (KeyboardInterrupt, SystemExit):
        print_line(f"interrupted; finished pictures are kept in {output}, and the same command resumes", err=True)
        raise
    for line in _lines(summary, output):
        print_line(line)
    if summary.unreadable:
        raise SourceError(
            f"{_count(summary.unreadable, 'file')} could not be read completely, see above; repair and run again"
        )


def _class(text: str) -> str | int:
    text = text.strip()
    return int(text) if text.isdecimal() else text


def _lines(summary: Summary, output: Path) -> list[str]:
    """The summary for the user."""
    before = (
        f", {_count(summary.before, 'picture')} {'was' if summary.before == 1 else 'were'} labelled before"
        if summary.before
        else ""
    )
    counts = [
        f"  {count:6}  {name}" for name, count in sorted(summary.objects.items(), key=lambda item: (-item[1], item[0]))
    ]
    objects = _count(summary.objects.total(), "object")
    return [f"{output}: annotated {_count(summary.pictures, 'picture')} with {objects}{before}", *counts]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
