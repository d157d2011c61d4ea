"""Writes YOLO labels for a folder of pictures in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from streamseg.annotate.formats import encode_yolo
from streamseg.annotate.labelling import LabelledPicture, Labeller
from streamseg.annotate.models import check_varies, find_detector, load_detector
from streamseg.annotate.pictures import Picture, open_pictures
from streamseg.annotate.work import annotate_pictures
from streamseg.atomic import unfinished, unfinished_files, write_atomically
from streamseg.errors import SourceError, UsageError
from streamseg.models.options import MAX_DET_OF_A_PICTURE, Compute, DetectorSettings
from streamseg.models.registry import check_detector
from streamseg.models.search import WeightsSearch
from streamseg.monitor.progress import DownloadDisplay
from streamseg.paths import local_path
from streamseg.threads import available_cores


class LabelFolder:
    """A folder of YOLO label files; a picture with a file is labelled."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def has(self, picture: Picture) -> bool:
        """Whether the picture's file exists."""
        return self._file(picture.name).exists()

    def begin(self, classes: Sequence[str]) -> None:
        """Create the folder, and remove unfinished files of an interrupted run."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            for path in unfinished_files(self._directory):
                unfinished(path).unlink()
        except OSError as error:
            raise self._not_written(error) from error

    def add(self, picture: Picture, labelled: LabelledPicture) -> None:
        """Write a picture's file."""
        try:
            write_atomically(self._file(picture.name), encode_yolo(labelled))
        except OSError as error:
            raise self._not_written(error) from error

    def finish(self) -> None:
        """Nothing: there is no index."""

    def _file(self, name: str) -> Path:
        return self._directory / f"{Path(name).stem}.txt"

    def _not_written(self, error: OSError) -> UsageError:
        return UsageError(f"{self._directory} cannot be written: {error.strerror or error}; give another output_dir")


def auto_annotate(
    data: str | Path,
    det_model: str | Path = "spot",
    sam_model: str | Path = "mobile_sam.pt",
    device: str = "",
    conf: float = 0.25,
    iou: float = 0.45,
    imgsz: int | None = 640,
    max_det: int = MAX_DET_OF_A_PICTURE,
    classes: Sequence[str | int] | None = None,
    output_dir: str | Path | None = None,
) -> None:
    """Write YOLO polygons for the pictures of a folder: detect the objects, and segment each within its box.

    Each picture gets a file `NAME.txt` with a line for each object: the number of its class, and one polygon in shares
    of the picture's width and height. The file of a picture without objects is empty. Pictures with a file are skipped,
    so an interrupted call resumes when it is repeated. Progress goes to standard error.

    Args:
        data: The folder; its subfolders are ignored.
        det_model: Detects the objects: `spot`, `yolox-nano` to `yolox-x`, a YOLOX export that ends in `.onnx`, or a
            plug-in.
        sam_model: Segments them: a checkpoint of MobileSAM or SAM, or a name to download, such as `mobile_sam.pt` or
            `sam-vit-b`.
        device: PyTorch's name of the device for `sam_model`, or the number of a GPU; empty uses a GPU if there is one.
        conf: Least confidence of an object, 0 to 1.
        iou: Two boxes of one class that overlap by more than this are one object, 0 to 1.
        imgsz: Longer side of the detector's input, a multiple of 32; None uses the detector's own.
        max_det: Largest number of objects per picture.
        classes: Names or numbers of the classes to keep; None keeps all.
        output_dir: Folder of the files; None uses `<data>_auto_annotate_labels` beside the folder.

    Raises:
        UsageError: An option is not valid, or the files cannot be written.
        SourceError: The folder has no pictures; or, after all others were annotated, a picture could not be read.
        WeightsError: The weights are missing, or belong to another model.
    """
    folder = local_path(data, "the folder of the pictures")
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder; give the folder of the pictures")
    check_varies(str(det_model))
    detector = DetectorSettings(
        model=str(det_model),
        conf=conf,
        iou=iou,
        imgsz=imgsz,
        max_det=max_det,
        classes=None if classes is None else tuple(classes),
    )
    compute = Compute(threads=available_cores())
    check_detector(detector)
    pictures = open_pictures(folder, every=1, detector=detector.model)
    beside = folder.absolute().with_name(f"{folder.absolute().stem}_auto_annotate_labels")
    output = beside if output_dir is None else Path(output_dir)
    console = Console(stderr=True)

    def load() -> Labeller:
        from streamseg.models.segmenters.sam import Sam

        with DownloadDisplay(console) as downloads:
            search = WeightsSearch(downloads.update)
            found, checkpoint = find_detector(detector, search), search.locate(str(sam_model))
            search.check()
            assert checkpoint is not None
            segmenter = Sam.load(checkpoint, device=_torch_device(device), threads=compute.threads)
            return Labeller(load_detector(found, compute), segmenter)

    summary = annotate_pictures(pictures, LabelFolder(output), load, console)
    if summary.unreadable:
        raise SourceError(
            f"{summary.unreadable} pictures of {folder} could not be read and have no labels; see the lines above"
        )


def _torch_device(device: str) -> str:
    return f"cuda:{device}" if device.isdigit() else device or "auto"
