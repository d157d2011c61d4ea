"""Trains the small segmenter `nano`."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from streamseg.errors import UsageError
from streamseg.models.segmenters.nano.network_file import OnnxNetwork, shipped_network
from streamseg.models.trained_on import TrainedOn, fingerprint
from streamseg.train.evaluation import JITTERED_BOX, POINT, TRUE_BOX, MeasuredMask, calibrate, measure
from streamseg.train.export import read_network, write_network
from streamseg.train.imagenet import load_imagenet
from streamseg.train.loop import IMAGENET, Schedule, check_output, find_device, run_training
from streamseg.train.loss import loss
from streamseg.train.network import NANO, NanoNetwork, Size
from streamseg.train.outlines import Photograph, hold_out, read_outlines
from streamseg.train.samples import BATCH, Samples
from streamseg.train.trainer import Trainer

_RATE_FROM_IMAGENET = 2e-3
_RATE_FROM_NETWORK = 3e-4
_PASSES_FROM_IMAGENET = 30.0
_PASSES_FROM_NETWORK = 10.0
_STEPS_BETWEEN_CHECKPOINTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """Options of a training.

    Attributes:
        data: COCO files of instances; every fifth photograph of the first file is held out for measuring.
        images: The folders of their photographs, one for each file.
        output: The file to write.
        size: Of the network.
        start: `IMAGENET`, the file of an earlier training, or None for the network of the package; that is IMAGENET if
            the package has none of this size.
        passes: Average number of samples of each object; None for 10, or 30 from ImageNet features.
        seed: Of all random numbers.
        device: PyTorch's name of the device; `auto` uses a GPU if there is one.
        workers: Processes that prepare samples.
        overwrite: Whether to overwrite `output`.
    """

    data: tuple[Path, ...]
    images: tuple[Path, ...]
    output: Path
    size: Size = NANO
    start: str | None = None
    passes: float | None = None
    seed: int = 0
    device: str = "auto"
    workers: int = 1
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Training:
    """Result of a training.

    Attributes:
        objects: Number of objects for training.
        held_out: Number of objects for measuring; without any, the figures are NaN.
        iou: Mean over those, with true boxes.
        iou_jittered: Mean over those, with boxes whose edges are 5% off.
        iou_point: Mean over those, with one point in the middle of each object.
    """

    objects: int
    held_out: int
    iou: float
    iou_jittered: float
    iou_point: float


def train_nano(
    options: TrainingOptions, progress: Callable[[int, int], None], report: Callable[[str], None]
) -> Training:
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
        CheckpointError: The file in `start` is not a network of nano.
    """
    check_output(options.output, overwrite=options.overwrite)
    seen, held_out = _photographs(options, report)
    samples = Samples(seen, options.size.side, options.seed)
    device = find_device(options.device)
    torch.manual_seed(options.seed)
    start = _start(options)
    prints = frozenset(fingerprint(photograph.path.read_bytes()) for photograph in seen)
    trained_on = TrainedOn(start.trained_on.fingerprints | prints)
    # Photographs of an earlier training, or of another file, would flatter the network.
    held_out = [photograph for photograph in held_out if not trained_on.saw(photograph.path.read_bytes())]
    passes = start.passes if options.passes is None else options.passes
    steps = max(20, round(passes * len(samples) / BATCH))
    trainer = Trainer(start.network, start.network.encoder.stages, loss, start.rate, steps, device)
    schedule = Schedule(
        steps=steps,
        workers=options.workers,
        between_checkpoints=_STEPS_BETWEEN_CHECKPOINTS,
        settings=_settings(options, steps),
        output=options.output,
    )

    def finish() -> Training:
        trained = trainer.finished()
        training = _measure(trained, len(samples), held_out)
        write_network(trained, trained_on, options.output)
        return training

    opening = (
        f"training on {len(samples)} objects of {len(seen)} photographs, on {device};"
        f" {len(held_out)} photographs are held out"
    )
    return run_training(trainer, samples, schedule, opening, progress, report, finish)


def _photographs(options: TrainingOptions, report: Callable[[str], None]) -> tuple[list[Photograph], list[Photograph]]:
    """The photographs to train on, and those held out."""
    if len(options.data) != len(options.images):
        raise UsageError(f"{len(options.data)} files of data and {len(options.images)} folders of images; give as many")
    files = []
    for data, images in zip(options.data, options.images, strict=True):
        outlines = read_outlines(data, images)
        for note in outlines.notes:
            report(note)
        files.append(outlines.photographs)
    seen, held_out = hold_out(files[0])
    return [photograph for photographs in (seen, *files[1:]) for photograph in photographs], held_out


@dataclass(frozen=True, slots=True)
class _Start:
    network: NanoNetwork
    rate: float
    passes: float
    trained_on: TrainedOn


def _start(options: TrainingOptions) -> _Start:
    if options.start == IMAGENET or (options.start is None and options.size != NANO):
        network = NanoNetwork(options.size, normalised=True)
        load_imagenet(network.encoder)
        return _Start(network, _RATE_FROM_IMAGENET, _PASSES_FROM_IMAGENET, TrainedOn(frozenset()))
    path = None if options.start is None else Path(options.start)
    trained_on = OnnxNetwork(path, threads=1).trained_on
    content = shipped_network() if path is None else path.read_bytes()
    network = read_network(content, options.size, options.start or "the network of the package")
    return _Start(network, _RATE_FROM_NETWORK, _PASSES_FROM_NETWORK, trained_on)


def _measure(network: NanoNetwork, objects: int, held_out: Sequence[Photograph]) -> Training:
    if not held_out:
        return Training(objects, 0, math.nan, math.nan, math.nan)
    measured = measure(network, held_out)
    calibrate(network, measured)
    return Training(objects, len(measured) // 3, *(_mean(measured, by) for by in (TRUE_BOX, JITTERED_BOX, POINT)))


def _mean(measured: Sequence[MeasuredMask], prompt: str) -> float:
    return statistics.fmean(one.iou for one in measured if one.prompt == prompt)


def _settings(options: TrainingOptions, steps: int) -> str:
    data = hashlib.sha256()
    for path in options.data:
        data.update(path.read_bytes())
    start = options.start or "default"
    return f"{options.size.name}, data {data.hexdigest()[:12]}, start {start}, seed {options.seed}, {steps} batches"
