"""Trains the small segmenter."""

from __future__ import annotations

import copy
import hashlib
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from streamseg.errors import OutputExistsError, StreamsegError, UsageError
from streamseg.models.segmenters.nano.network_file import OnnxNetwork, TrainedOn, fingerprint, shipped_network
from streamseg.train.checkpoint import Checkpoint
from streamseg.train.evaluation import Judged, calibrate, judge
from streamseg.train.export import read_network, write_network
from streamseg.train.imagenet import load_imagenet
from streamseg.train.network import NanoNetwork
from streamseg.train.outlines import Photograph, hold_out, read_outlines
from streamseg.train.samples import Samples
from streamseg.train.trainer import BATCH, Trainer, batches

IMAGENET = "imagenet"
"""Where a training from the beginning starts."""
_RATE_FROM_IMAGENET = 2e-3
_RATE_FROM_NETWORK = 3e-4
_STEPS_BETWEEN_CHECKPOINTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What to train on, and how.

    Attributes:
        data: A COCO file of instances.
        images: The folder of its photographs.
        output: The file to write.
        start: `IMAGENET`, a file of an earlier training, or None for the network of the package.
        passes: How often each object is shown, on average.
        seed: Of all chance.
        device: PyTorch's name of the device; `auto` takes a GPU where there is one.
        workers: Processes that make samples.
        overwrite: Whether `output` may exist.
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
    """What came of a training.

    Attributes:
        objects: How many it was trained on.
        held_out: How many it was measured on; the two figures are NaN where there are none.
        iou: Mean over those, with true boxes.
        iou_jittered: The same with boxes whose edges are 5% off.
    """

    objects: int
    held_out: int
    iou: float
    iou_jittered: float


def train_nano(options: TrainingOptions, progress: Callable[[int, int], None], say: Callable[[str], None]) -> Training:
    """Train, measure on every fifth photograph, which is held out, and write the file.

    A training that is stopped, by whatever, goes on when it is called again with the same options.

    Args:
        options: What to train on, and how.
        progress: Is told how many batches are done, of how many.
        say: Is told what happens, in lines for people.

    Raises:
        DataError: The data cannot be trained on.
        SourceError: A photograph cannot be read.
        UsageError: A file is in the way or cannot be written, an option cannot be carried out, or a package is missing.
        CheckpointError: The file to start from is not a network of nano.
    """
    checkpoint_path = options.output.with_name(f"{options.output.name}.checkpoint")
    _check_output(options)
    seen, held_out = hold_out(read_outlines(options.data, options.images))
    samples = Samples(seen, options.seed)
    device = _device(options.device)
    torch.manual_seed(options.seed)
    start = _start(options)
    prints = frozenset(fingerprint(photograph.path.read_bytes()) for photograph in seen)
    # What an earlier training has learnt by heart is no measure.
    held_out = [photograph for photograph in held_out if not start.trained_on.saw(photograph.path.read_bytes())]
    steps = max(20, round(options.passes * len(samples) / BATCH))
    trainer = Trainer(start.network, start.rate, steps, device)
    settings = _settings(options, steps)
    checkpoint = Checkpoint.read(checkpoint_path, settings)
    first = 0
    if checkpoint is not None:
        trainer.resume(checkpoint)
        first = checkpoint.step
        say(f"going on with batch {first + 1} of {steps}, from {checkpoint_path}")
    say(
        f"training on {len(samples)} objects of {len(seen)} photographs, on {device}; {len(held_out)} photographs are held out"
    )
    done = first
    try:
        trainer.network.train()
        for batch in batches(samples, first, steps, options.workers):
            trainer.step(batch, done + 1)
            done += 1
            progress(done, steps)
            if done % _STEPS_BETWEEN_CHECKPOINTS == 0:
                trainer.checkpoint(settings, done).write(checkpoint_path)
        say("measuring")
        trained = _finished(copy.deepcopy(trainer.average))
        training = _measure(trained, len(samples), held_out)
        write_network(trained, TrainedOn(start.trained_on.fingerprints | prints), options.output)
    except BaseException as error:
        # A stop, too: what is learnt is kept. But data that have to be repaired will be other data.
        if done > first and not isinstance(error, StreamsegError):
            trainer.checkpoint(settings, done).write(checkpoint_path)
        raise
    checkpoint_path.unlink(missing_ok=True)
    return training


@dataclass(frozen=True, slots=True)
class _Start:
    network: NanoNetwork
    rate: float
    trained_on: TrainedOn


def _start(options: TrainingOptions) -> _Start:
    if options.start == IMAGENET:
        network = NanoNetwork(normalised=True)
        load_imagenet(network)
        return _Start(network, _RATE_FROM_IMAGENET, TrainedOn(frozenset()))
    path = None if options.start is None else Path(options.start)
    trained_on = OnnxNetwork(path, threads=1).trained_on
    content = shipped_network() if path is None else path.read_bytes()
    return _Start(read_network(content, options.start or "the network of the package"), _RATE_FROM_NETWORK, trained_on)


def _finished(network: Any) -> NanoNetwork:
    finished: NanoNetwork = network.cpu().eval()
    for convolution in finished.convolutions():
        convolution.fold()
    return finished


def _measure(network: NanoNetwork, objects: int, held_out: Sequence[Photograph]) -> Training:
    if not held_out:
        return Training(objects, 0, math.nan, math.nan)
    judged = judge(network, held_out)
    calibrate(network, judged)
    return Training(objects, len(judged) // 2, _mean(judged, true_box=True), _mean(judged, true_box=False))


def _mean(judged: Sequence[Judged], *, true_box: bool) -> float:
    return statistics.fmean(one.iou for one in judged if one.true_box == true_box)


def _check_output(options: TrainingOptions) -> None:
    if options.output.is_dir() or not options.output.parent.is_dir():
        raise UsageError(f"{options.output} cannot be written; name a file in a folder that exists")
    if options.output.exists() and not options.overwrite:
        raise OutputExistsError(f"{options.output} exists; name another file, or allow overwriting with -y")


def _device(name: str) -> torch.device:
    try:
        device = torch.device(
            "cuda" if name == "auto" and torch.cuda.is_available() else "cpu" if name == "auto" else name
        )
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"--device {name}: PyTorch cannot use it here ({str(error).splitlines()[0]}); try cpu"
        ) from error
    return device


def _settings(options: TrainingOptions, steps: int) -> str:
    data = hashlib.sha256(options.data.read_bytes()).hexdigest()[:12]
    return f"data {data}, start {options.start or 'package'}, seed {options.seed}, {steps} batches"
