"""Runs a training to its end, over stops and restarts of the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from streamseg.errors import OutputExistsError, StreamsegError, UsageError
from streamseg.train.checkpoint import Checkpoint
from streamseg.train.trainer import Batches, Trainer, batches

IMAGENET = "imagenet"
"""Start of a training from ImageNet features."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long a training runs, and where it keeps its state.

    Attributes:
        steps: Number of batches.
        workers: Processes that prepare batches.
        between_checkpoints: Batches from one checkpoint to the next.
        settings: Of the training in one line; one with others does not resume from its checkpoint.
        output: The file that the training writes; the checkpoint is beside it.
    """

    steps: int
    workers: int
    between_checkpoints: int
    settings: str
    output: Path


def run_training(
    trainer: Trainer,
    source: Batches,
    schedule: Schedule,
    opening: str,
    progress: Callable[[int, int], None],
    report: Callable[[str], None],
    finish: Callable[[], _Result],
) -> _Result:
    """Train from the checkpoint, if there is one, to the last batch, and finish.

    Args:
        trainer: At the start of the training.
        source: Of the batches.
        schedule: Of the training.
        opening: The line for the user that says what is trained on.
        progress: Receives the number of finished batches and of all.
        report: Receives lines for the user.
        finish: Measures and writes the network. If it fails, the training resumes there.

    Raises:
        DataError: The data cannot be trained on.
        SourceError: A photograph cannot be read.
        UsageError: The checkpoint cannot be written, or is of another training.
    """
    path = schedule.output.with_name(f"{schedule.output.name}.checkpoint")
    checkpoint = Checkpoint.read(path, schedule.settings)
    first = 0
    if checkpoint is not None:
        trainer.resume(checkpoint)
        first = checkpoint.step
        report(f"resuming with batch {first + 1} of {schedule.steps}, from {path}")
    report(opening)
    done = first
    try:
        trainer.network.train()
        for batch in batches(source, first, schedule.steps, schedule.workers):
            trainer.step(batch, done + 1)
            done += 1
            progress(done, schedule.steps)
            if done % schedule.between_checkpoints == 0:
                trainer.checkpoint(schedule.settings, done).write(path)
        report("measuring")
        result = finish()
    except BaseException as error:
        # Also after a stop. Not after an error in the data: repaired data are other data.
        if done > first and not isinstance(error, StreamsegError):
            trainer.checkpoint(schedule.settings, done).write(path)
        raise
    path.unlink(missing_ok=True)
    return result


def check_output(output: Path, *, overwrite: bool) -> None:
    """Check that a file can be written.

    Raises:
        UsageError: Its folder does not exist, or it is a folder.
        OutputExistsError: It exists, and may not be overwritten.
    """
    if output.is_dir() or not output.parent.is_dir():
        raise UsageError(f"{output} cannot be written; name a file in a folder that exists")
    if output.exists() and not overwrite:
        raise OutputExistsError(f"{output} exists; name another file, or allow overwriting with -y")


def find_device(name: str) -> torch.device:
    """The device that `--device` names; `auto` is a GPU if there is one.

    Raises:
        UsageError: PyTorch cannot use it.
    """
    try:
        device = torch.device(
            "cuda" if name == "auto" and torch.cuda.is_available() else "cpu" if name == "auto" else name
        )
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: PyTorch cannot use it ({str(error).splitlines()[0]}); try cpu") from error
    return device
