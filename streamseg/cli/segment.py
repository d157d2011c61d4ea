"""`streamseg segment`: pictures from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from streamseg.cli.options import Overwrite
from streamseg.cli.output import print_line
from streamseg.errors import UsageError

if TYPE_CHECKING:
    from streamseg.models.segmenters.sam.automatic import AutomaticOptions
    from streamseg.segment.pictures import Segmented

_T = TypeVar("_T")


def segment(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Pictures; all get the same prompts.", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Output folder; each picture gets a folder of its own name in it.", show_default=False
        ),
    ],
    boxes: Annotated[
        list[str] | None,
        typer.Option(
            "--box",
            metavar="X1,Y1,X2,Y2",
            help="Box of one object: left, top, right, bottom in pixels. May be repeated.",
            show_default=False,
        ),
    ] = None,
    points: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'X,Y[,LABEL] ...'",
            help="Points of one object, in pixels; label 1 (the default) is on the object, 0 is not. May be repeated.",
            show_default=False,
        ),
    ] = None,
    mask_input: Annotated[
        Path | None,
        typer.Option(
            metavar="F.npy",
            help="Earlier masks to improve, one per object: the logits.npy of an earlier call.",
            show_default=False,
        ),
    ] = None,
    multimask: Annotated[
        bool,
        typer.Option("--multimask", help="Make three masks per object, for ambiguous prompts such as a single point."),
    ] = False,
    everything: Annotated[
        bool, typer.Option("--everything", help="Segment everything, without boxes and points.")
    ] = False,
    points_per_side: Annotated[
        int | None,
        typer.Option(metavar="N", help="Everything: a grid of N x N points; default 32.", show_default=False),
    ] = None,
    pred_iou_thresh: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Everything: keep masks with a predicted IoU above X; default 0.88.",
            show_default=False,
        ),
    ] = None,
    stability_score_thresh: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Everything: keep masks with a stability of at least X; default 0.95.", show_default=False
        ),
    ] = None,
    crop_n_layers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Everything: also segment 4, 16, ... crops of the picture; default 0 layers.",
            show_default=False,
        ),
    ] = None,
    min_mask_region_area: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Everything: remove holes and parts below N pixels; default 0.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(help="mobile_sam.pt, sam-vit-b, -l, -h (downloaded on first use), or the path of a checkpoint."),
    ] = "mobile_sam.pt",
    device: Annotated[str, typer.Option(help="Device: cpu, cuda, or auto.")] = "auto",
    yes: Overwrite = False,
) -> None:
    """Segment pictures: the objects in boxes, the objects at points, or everything.

    Each --box makes one object, and so does each --points. With the same number of both, the first box and the first
    points make one object, and so on.

    The folder of a picture gets overlay.jpg to look at, and mask_000.png and so on, 255 where the mask is.

    It also gets masks.json, with each mask's box, scores and COCO RLE, and logits.npy for a later --mask-input.

    \b
    Examples:
      streamseg segment dog.jpg --box 120,60,480,400 --output out
      streamseg segment dog.jpg --points 300,200 --multimask --output out
      streamseg segment dog.jpg --points '300,200 350,90,0' --output out
      streamseg segment *.jpg --everything --model sam-vit-b --output out

    Exit codes: 0 done, 2 usage or an output that exists, 3 a picture cannot be read, 4 weights.
    """
    from streamseg.cli.prompt_texts import read_prompts
    from streamseg.models.weights import locate
    from streamseg.monitor.patience import Announced
    from streamseg.monitor.progress import DownloadDisplay, WorkDisplay
    from streamseg.paths import local_path
    from streamseg.segment.job import SegmentJob, check_job

    pictures = tuple(local_path(image, "the path of a picture") for image in images)
    prompts = read_prompts(boxes or [], points or [], mask_input)
    tuning = (points_per_side, pred_iou_thresh, stability_score_thresh, crop_n_layers, min_mask_region_area)
    if everything and (prompts or multimask):
        raise UsageError(
            "--everything excludes --box, --points, --mask-input and --multimask; leave out one or the other"
        )
    if not everything and any(value is not None for value in tuning):
        raise UsageError("an option of --everything was given without it; add --everything, or leave the option out")
    if not everything and not prompts:
        raise UsageError("no prompt; give --box X1,Y1,X2,Y2, --points X,Y or --everything")
    wanted = _everything(*tuning) if everything else prompts
    job = SegmentJob(images=pictures, prompts=wanted, output=output, multimask=multimask, overwrite=yes)
    check_job(job)
    with DownloadDisplay() as downloads:
        weights = locate(model, progress=downloads.update)  # before PyTorch is loaded, which takes seconds
    with Announced("loading PyTorch and the model"):
        from streamseg.sam.promptable import SAM
        from streamseg.segment.pictures import segment_images

        core = SAM(weights, device).core
    finished: list[Segmented] = []
    try:
        with WorkDisplay("segmenting", len(images) * len(prompts) or None) as display:
            finished.extend(segment_images(job, core, display.update))
    finally:
        # Printed while the bar is on the terminal, a line would end up beside it.
        for done in finished:
            print_line(_summary(done))


def _everything(
    points_per_side: int | None,
    pred_iou_thresh: float | None,
    stability_score_thresh: float | None,
    crop_n_layers: int | None,
    min_mask_region_area: int | None,
) -> AutomaticOptions:
    """The given settings of everything mode; the others are the original's."""
    from streamseg.models.segmenters.sam.automatic import AutomaticOptions

    usual = AutomaticOptions()
    return AutomaticOptions(
        points_per_side=_given(points_per_side, usual.points_per_side),
        pred_iou_thresh=_given(pred_iou_thresh, usual.pred_iou_thresh),
        stability_score_thresh=_given(stability_score_thresh, usual.stability_score_thresh),
        crop_n_layers=_given(crop_n_layers, usual.crop_n_layers),
        min_mask_region_area=_given(min_mask_region_area, usual.min_mask_region_area),
    )


def _given(value: _T | None, usual: _T) -> _T:
    return usual if value is None else value


def _summary(done: Segmented) -> str:
    masks = "1 mask" if done.masks == 1 else f"{done.masks} masks"
    without = f"; none for {done.without} of the objects" if done.without else ""
    return f"{done.image.name}: {masks} in {done.folder}{without}"
