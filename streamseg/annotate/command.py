"""`streamseg annotate`: makes a data set from pictures or a video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from streamseg.annotate.dataset import Settings, open_dataset
from streamseg.annotate.formats import create_format
from streamseg.annotate.labelling import Labeller
from streamseg.annotate.models import (
    detector_hash,
    find_detector,
    find_segmenter,
    load_detector,
    load_segmenter,
    segmenter_hash,
)
from streamseg.annotate.pictures import open_pictures
from streamseg.annotate.work import Summary, annotate_pictures
from streamseg.errors import UsageError
from streamseg.models.options import Compute, DetectorSettings, SegmenterSettings
from streamseg.models.registry import check_detector, check_segmenter
from streamseg.models.runtime.selection import check_device
from streamseg.models.search import WeightsSearch
from streamseg.monitor.patience import Announced
from streamseg.monitor.progress import DownloadDisplay
from streamseg.paths import unicode_name
from streamseg.settings import check_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateOptions:
    """Options of `streamseg annotate`.

    Attributes:
        source: A folder of pictures, a picture, or a video.
        output: The data set's folder; created if absent.
        format: One of `FORMATS`.
        every: For a video: annotate every Nth frame.
        restart: Whether to remove the results of earlier runs in `output`.
    """

    source: Path
    output: Path
    format: str
    detector: DetectorSettings
    segmenter: SegmenterSettings
    compute: Compute
    every: int = 1
    restart: bool = False


def annotate_source(options: AnnotateOptions, console: Console) -> Summary:
    """Make a data set, or resume an interrupted one.

    Args:
        options: The user's.
        console: Shows progress.

    Raises:
        StreamsegError: The options, the source, or the weights are not valid.
    """
    detector, segmenter = options.detector, options.segmenter
    create_format(options.format)
    check_detector(detector)
    check_segmenter(segmenter)
    check_settings(options.compute)
    check_device(options.compute.device)
    pictures = open_pictures(options.source, every=options.every, detector=detector.model)
    if options.output.resolve() in (options.source.resolve(), *options.source.resolve().parents):
        raise UsageError(
            f"{options.source} lies in {options.output}, which would mix pictures and labels; name a folder beside it"
        )
    settings = Settings(
        format=options.format,
        source=pictures.name,
        source_bytes=pictures.size,
        every=options.every,
        detector=unicode_name(Path(detector.model).name),
        detector_sha256=detector_hash(detector),
        segmenter=segmenter.model,
        segmenter_sha256=segmenter_hash(segmenter),
        conf=detector.conf,
        iou=detector.iou,
        imgsz=detector.imgsz,
        max_det=detector.max_det,
        classes=None if detector.classes is None else list(detector.classes),
    )

    def report_export(done: int, total: int) -> None:
        if done == 0:
            console.print(f"exporting {segmenter.model} for pictures of another shape, which takes some seconds once")

    def load() -> Labeller:
        with DownloadDisplay(console) as downloads:
            search = WeightsSearch(downloads.update)
            found = find_detector(detector, search), find_segmenter(segmenter, search)
            search.check()
            with Announced(f"loading {detector.model} + {segmenter.model}"):
                return Labeller(
                    load_detector(found[0], options.compute),
                    load_segmenter(found[1], options.compute, downloads.update, report_export),
                )

    with open_dataset(options.output, settings, restart=options.restart) as dataset:
        return annotate_pictures(pictures, dataset, load, console)
