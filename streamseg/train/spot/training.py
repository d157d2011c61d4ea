"""Trains the small detector `spot`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from streamseg.errors import DataError, UsageError
from streamseg.models.detectors.spot import read_trained_on, shipped_network
from streamseg.models.detectors.yolox import YoloxDetector
from streamseg.models.options import Compute, DetectorSettings
from streamseg.models.trained_on import TrainedOn, fingerprint
from streamseg.train.loop import Schedule, check_output, find_device, run_training
from streamseg.train.outlines import hold_out
from streamseg.train.spot.calibration import (
    LEAST_CONFIDENCE,
    JudgedDetection,
    calibrate,
    judge_detections,
    reliability_error,
)
from streamseg.train.spot.export import read_network, write_network
from streamseg.train.spot.labels import LabelledPhotograph, read_labels
from streamseg.train.spot.loss import loss
from streamseg.train.spot.measure import Precision, average_precision
from streamseg.train.spot.scenes import BATCH, Scenes
from streamseg.train.spot.teacher import Teacher
from streamseg.train.trainer import Trainer

_RATE = 2e-4
_STEPS_BETWEEN_CHECKPOINTS = 200
_COUNTED = 0.01
"""Confidence from which detections count for the average precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotOptions:
    """Options of a training.

    Attributes:
        data: COCO files of instances; every fifth photograph of the first file is held out for measuring.
        images: The folders of their photographs, one for each file.
        output: The file to write.
        classes: Names of the classes to find; None takes those of the first file.
        start: A file of an earlier training, or YOLOX-Nano's; None starts from the network of the package.
        teacher: A YOLOX export that names what the labels leave out; None without.
        passes: Average number of samples of each photograph.
        seed: Of all random numbers.
        device: PyTorch's name of the device; `auto` uses a GPU if there is one.
        workers: Processes that prepare batches.
        overwrite: Whether to overwrite `output`.
    """

    data: tuple[Path, ...]
    images: tuple[Path, ...]
    output: Path
    classes: tuple[str, ...] | None = None
    start: Path | None = None
    teacher: Path | None = None
    passes: float = 30
    seed: int = 0
    device: str = "auto"
    workers: int = 1
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class SpotTraining:
    """Result of a training.

    Attributes:
        photographs: Number of photographs for training.
        held_out: Number of photographs for measuring.
        precision: On those; None without any.
        reliability_error: Mean difference between confidences and the share of right detections there; None likewise.
    """

    photographs: int
    held_out: int
    precision: Precision | None
    reliability_error: float | None


def train_spot(
    options: SpotOptions, progress: Callable[[int, int], None], report: Callable[[str], None]
) -> SpotTraining:
    """Train, measure on the held-out photographs, and write the file.

    A stopped or killed training resumes when it is called again with the same options.

    Args:
        options: Of the training.
        progress: Receives the number of finished batches and of all.
        report: Receives lines for the user.

    Raises:
        DataError: The data cannot be trained on.
        SourceError: A photograph cannot be read.
        UsageError: A file exists or cannot be written, an option is not valid, or a package is missing.
        CheckpointError: The file in `start` is not a network of spot, or that in `teacher` not a YOLOX export.
    """
    check_output(options.output, overwrite=options.overwrite)
    classes, seen, held_out = _photographs(options, report)
    device = find_device(options.device)
    torch.manual_seed(options.seed)
    teacher = None if options.teacher is None else Teacher(options.teacher, len(classes))
    scenes = Scenes(seen, teacher, options.seed)
    steps = max(20, math.ceil(options.passes * len(scenes) / BATCH))
    start = _start(options)
    prints = read_trained_on(start).fingerprints | {fingerprint(one.path.read_bytes()) for one in seen}
    network = read_network(start, classes)
    trainer = Trainer(network, network.features, loss, _RATE, steps, device)
    schedule = Schedule(
        steps=steps,
        workers=options.workers,
        between_checkpoints=_STEPS_BETWEEN_CHECKPOINTS,
        settings=_settings(options, steps),
        output=options.output,
    )

    def finish() -> SpotTraining:
        trained = trainer.finished()
        write_network(trained, classes, TrainedOn(prints), options.output)
        if not held_out:
            return SpotTraining(len(seen), 0, None, None)
        calibrate(trained, _judged(options.output, held_out))
        write_network(trained, classes, TrainedOn(prints), options.output)
        error = reliability_error(_judged(options.output, held_out))
        return SpotTraining(len(seen), len(held_out), measure(options.output, held_out, classes), error)

    opening = (
        f"training on {len(seen)} photographs with {sum(len(one.classes) for one in seen)} objects of {len(classes)}"
        f" classes, on {device}; {len(held_out)} photographs are held out"
    )
    return run_training(trainer, scenes, schedule, opening, progress, report, finish)


def measure(path: Path, photographs: Sequence[LabelledPhotograph], classes: Sequence[str]) -> Precision:
    """The average precision of a file in YOLOX's format."""
    settings = DetectorSettings(model=str(path), conf=_COUNTED)
    return average_precision(YoloxDetector(settings, Compute(threads=1), path).detect, photographs, classes)


def _judged(path: Path, photographs: Sequence[LabelledPhotograph]) -> list[JudgedDetection]:
    settings = DetectorSettings(model=str(path), conf=LEAST_CONFIDENCE)
    return judge_detections(YoloxDetector(settings, Compute(threads=1), path), photographs)


def _photographs(
    options: SpotOptions, report: Callable[[str], None]
) -> tuple[tuple[str, ...], list[LabelledPhotograph], list[LabelledPhotograph]]:
    """The classes, the photographs to train on, and those held out."""
    if len(options.data) != len(options.images):
        raise UsageError(f"{len(options.data)} files of data and {len(options.images)} folders of images; give as many")
    classes = options.classes
    files: list[list[LabelledPhotograph]] = []
    for data, images in zip(options.data, options.images, strict=True):
        labels = read_labels(data, images, classes)
        classes = labels.classes
        for note in labels.notes:
            report(note)
        files.append(labels.photographs)
    first, held_out = hold_out(files[0])
    seen = [photograph for photographs in (first, *files[1:]) for photograph in photographs]
    if options.teacher is None:
        seen = [photograph for photograph in seen if photograph.complete]
    if classes is None or not any(len(photograph.classes) for photograph in seen):
        raise DataError(f"{options.data[0]}: no photograph has an object of these classes; label some")
    return classes, seen, held_out


def _start(options: SpotOptions) -> Path:
    if options.start is None:
        return shipped_network()
    if not options.start.is_file():
        raise UsageError(f"--from {options.start}: no such file; give one of `streamseg train spot`, or YOLOX-Nano's")
    return options.start


def _settings(options: SpotOptions, steps: int) -> str:
    data = hashlib.sha256()
    for path in options.data:
        data.update(path.read_bytes())
    taught = "no teacher" if options.teacher is None else options.teacher.name
    return (
        f"data {data.hexdigest()[:12]}, start {options.start}, {taught}, classes {options.classes or 'all'}, "
        f"seed {options.seed}, {steps} batches"
    )
