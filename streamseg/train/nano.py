"""Trains the small segmenter `nano`."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from streamseg.models.segmenters.nano.network_file import OnnxNetwork, TrainedOn, fingerprint, shipped_network
from streamseg.train.evaluation import MeasuredMask, calibrate, measure
from streamseg.train.export import read_network, write_network
from streamseg.train.imagenet import load_imagenet
from streamseg.train.loop import IMAGENET, Schedule, check_output, find_device, run_training
from streamseg.train.loss import loss
from streamseg.train.network import NanoNetwork
from streamseg.train.outlines import Photograph, hold_out, read_outlines
from streamseg.train.samples import BATCH, Samples
from streamseg.train.trainer import Trainer

_RATE_FROM_IMAGENET = 2e-3
_RATE_FROM_NETWORK = 3e-4
_STEPS_BETWEEN_CHECKPOINTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """Options of a training.

    Attributes:
        data: A COCO file of instances.
        images: The folder of its photographs.
        output: The file to write.
        start: `IMAGENET`, the file of an earlier training, or None for the network of the package.
        passes: Average number of samples of each object.
        seed: Of all random numbers.
        device: PyTorch's name of the device; `auto` uses a GPU if there is one.
        workers: Processes that prepare samples.
        overwrite: Whether to overwrite `output`.
    """

    data: Path
    images: Path
    output: Path
    start: str | None = None
    passes: float = 10
    seed: int = 0
    device: str = "auto"
    workers: int = 1
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Training:
    """Result of a training.

    Attributes:
        objects: Number of objects for training.
        held_out: Number of objects for measuring; without any, the two figures are NaN.
        iou: Mean over those, with true boxes.
        iou_jittered: Mean over those, with boxes whose edges are 5% off.
    """

    objects: int
    held_out: int
    iou: float
    iou_jittered: float


def train_nano(
    options: TrainingOptions, progress: Callable[[int, int], None], report: Callable[[str], None]
) -> Training:
    """Train, measure on the held-out photographs, which are every fifth, and write the file.

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
    outlines = read_outlines(options.data, options.images)
    for note in outlines.notes:
        report(note)
    seen, held_out = hold_out(outlines.photographs)
    samples = Samples(seen, options.seed)
    device = find_device(options.device)
    torch.manual_seed(options.seed)
    start = _start(options)
    prints = frozenset(fingerprint(photograph.path.read_bytes()) for photograph in seen)
    # Photographs of an earlier training would flatter the network.
    held_out = [photograph for photograph in held_out if not start.trained_on.saw(photograph.path.read_bytes())]
    steps = max(20, round(options.passes * len(samples) / BATCH))
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
        write_network(trained, TrainedOn(start.trained_on.fingerprints | prints), options.output)
        return training

    opening = (
        f"training on {len(samples)} objects of {len(seen)} photographs, on {device};"
        f" {len(held_out)} photographs are held out"
    )
    return run_training(trainer, samples, schedule, opening, progress, report, finish)


@dataclass(frozen=True, slots=True)
class _Start:
    network: NanoNetwork
    rate: float
    trained_on: TrainedOn


def _start(options: TrainingOptions) -> _Start:
    if options.start == IMAGENET:
        network = NanoNetwork(normalised=True)
        load_imagenet(network.encoder)
        return _Start(network, _RATE_FROM_IMAGENET, TrainedOn(frozenset()))
    path = None if options.start is None else Path(options.start)
    trained_on = OnnxNetwork(path, threads=1).trained_on
    content = shipped_network() if path is None else path.read_bytes()
    return _Start(read_network(content, options.start or "the network of the package"), _RATE_FROM_NETWORK, trained_on)


def _measure(network: NanoNetwork, objects: int, held_out: Sequence[Photograph]) -> Training:
    if not held_out:
        return Training(objects, 0, math.nan, math.nan)
    measured = measure(network, held_out)
    calibrate(network, measured)
    return Training(objects, len(measured) // 2, _mean(measured, true_box=True), _mean(measured, true_box=False))


def _mean(measured: Sequence[MeasuredMask], *, true_box: bool) -> float:
    return statistics.fmean(one.iou for one in measured if one.true_box == true_box)


def _settings(options: TrainingOptions, steps: int) -> str:
    data = hashlib.sha256(options.data.read_bytes()).hexdigest()[:12]
    return f"data {data}, start {options.start or 'package'}, seed {options.seed}, {steps} batches"
