"""Quality and speed of the packaged detector, spot, beside YOLOX-Nano."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import truth
from benchmarks.measure import Report, medians_ms
from streamseg.bench.machine import Machine, this_machine
from streamseg.categories import COCO_CLASSES
from streamseg.errors import DataError
from streamseg.models.detectors.spot import read_trained_on, shipped_network
from streamseg.models.detectors.yolox import YoloxDetector
from streamseg.models.options import SPOT, Compute, DetectorSettings
from streamseg.models.weights import resolve
from streamseg.train.spot.calibration import LEAST_CONFIDENCE, judge_detections, reliability_error
from streamseg.train.spot.labels import LabelledPhotograph, read_labels
from streamseg.train.spot.measure import average_precision

_RIVAL = "yolox-nano"
_COUNTED = 0.01
"""Confidence from which detections count for the average precision."""
_NAMED = ("person", "bicycle", "car", "cat", "dog", "chair", "bottle", "cup")
_ROUNDS = 50
_USUAL = DetectorSettings().conf


class DetectorQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One detector on one folder.

    Attributes:
        ap50: Average precision at an IoU of 0.5, the mean over the classes that occur.
        ap50_of_class: That of each class by its name.
        reliability_error: Mean difference of confidence and share of right detections, over ten bins.
    """

    ap50: float
    ap50_of_class: dict[str, float]
    reliability_error: float


class FolderFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One folder.

    Attributes:
        folder: Its path as given.
        photographs: Those measured; photographs that spot was trained on are left out.
        spot: The packaged detector, or the file given.
        yolox_nano: Its rival.
    """

    folder: str
    photographs: int
    spot: DetectorQuality
    yolox_nano: DetectorQuality


class SpotFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Times are medians on one thread, from a frame of 1280x720 to its boxes; the two detectors run in turn."""

    machine: Machine
    file_bytes: int
    spot_ms: float
    yolox_nano_ms: float
    folders: list[FolderFigures]


def bench_spot(
    folders: Iterable[Path], weights: Path | None, rival_weights: Path | None, report: Report
) -> SpotFigures:
    """Measure.

    Args:
        folders: Each holds COCO instances (`instances.json` and `images`), labelled completely.
        weights: A file of `streamseg train spot` to measure instead of the package's.
        rival_weights: Weights of YOLOX-Nano; None takes the official ones.
        report: Receives a line before each step.

    Raises:
        DataError: A folder holds something else, or classes that are not COCO's.
        CheckpointError: A file is not a YOLOX export.
        WeightsError: YOLOX-Nano's weights are not available.
    """
    cv2.setNumThreads(1)
    places = list(folders)
    for folder in places:
        if not truth.is_coco(folder):
            raise DataError(f"{folder} holds nothing to measure on; expected instances.json and images")
    own, rival = weights or shipped_network(), resolve(_RIVAL, path=rival_weights)
    report("timing")
    image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    first, second = _detector(SPOT, own, _USUAL), _detector(_RIVAL, rival, _USUAL)
    spot_ms, rival_ms = medians_ms([lambda: first.detect(image), lambda: second.detect(image)], _ROUNDS)
    return SpotFigures(
        machine=this_machine(),
        file_bytes=own.stat().st_size,
        spot_ms=spot_ms,
        yolox_nano_ms=rival_ms,
        folders=[_folder(folder, own, rival, report) for folder in places],
    )


def _folder(folder: Path, own: Path, rival: Path, report: Report) -> FolderFigures:
    report(f"measuring {folder}")
    trained_on = read_trained_on(own)
    photographs = [one for one in _photographs(folder) if not trained_on.saw(one.path.read_bytes())]
    if not photographs:
        raise DataError(f"{folder} holds only photographs that the network was trained on; give others")
    return FolderFigures(
        folder=str(folder),
        photographs=len(photographs),
        spot=_quality(SPOT, own, photographs),
        yolox_nano=_quality(_RIVAL, rival, photographs),
    )


def _photographs(folder: Path) -> list[LabelledPhotograph]:
    """The photographs with COCO's numbers of their classes."""
    labels = read_labels(folder / "instances.json", folder / "images")
    unknown = [name for name in labels.classes if name not in COCO_CLASSES]
    if unknown:
        raise DataError(f"{folder} has classes that are not COCO's: {', '.join(unknown)}")
    numbers = np.array([COCO_CLASSES.index(name) for name in labels.classes], np.int64)
    return [replace(one, classes=numbers[one.classes]) for one in labels.photographs]


def _quality(model: str, weights: Path, photographs: Sequence[LabelledPhotograph]) -> DetectorQuality:
    precision = average_precision(_detector(model, weights, _COUNTED).detect, photographs, COCO_CLASSES)
    judged = judge_detections(_detector(model, weights, LEAST_CONFIDENCE), photographs)
    return DetectorQuality(
        ap50=precision.mean, ap50_of_class=precision.of_class, reliability_error=reliability_error(judged)
    )


def _detector(model: str, weights: Path, confidence: float) -> YoloxDetector:
    return YoloxDetector(DetectorSettings(model=model, conf=confidence), Compute(threads=1), weights)


def print_spot(figures: SpotFigures) -> None:
    """Print size and times, then one table for each folder."""
    console = Console()
    console.print(
        f"spot {figures.file_bytes / 1e6:.2f} MB, {figures.spot_ms:.1f} ms a frame; YOLOX-Nano"
        f" {figures.yolox_nano_ms:.1f} ms"
    )
    for one in figures.folders:
        table = Table(escape(one.folder), "spot", "YOLOX-Nano", "ratio", title=f"AP50, {one.photographs} photographs")
        ours, theirs = one.spot.ap50_of_class, one.yolox_nano.ap50_of_class
        rows = [("all classes", one.spot.ap50, one.yolox_nano.ap50)]
        rows += [(name, ours[name], theirs[name]) for name in _NAMED if name in ours and name in theirs]
        for name, mine, other in rows:
            table.add_row(name, f"{mine:.3f}", f"{other:.3f}", f"{mine / other:.2f}" if other else "none")
        errors = (one.spot.reliability_error, one.yolox_nano.reliability_error)
        table.add_row("reliability error", *(f"{error:.3f}" for error in errors))
        console.print(table)
