"""Checkpoints: the state of a training on disk, from which it resumes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from streamseg.atomic import write_atomically
from streamseg.errors import UsageError


def write_file(path: Path, content: bytes) -> None:
    """Replace a file atomically.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}; "
            "make room and run the same command again: it resumes from the last checkpoint"
        ) from error


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The complete state of a training: resumed, it has the same result as without a stop.

    Attributes:
        settings: The training's settings in one line; a training with others does not resume from here.
        step: Finished batches.
        network: State of the network.
        average: State of its running average.
        optimiser: State of the optimiser.
        schedule: State of the learning rate schedule.
    """

    settings: str
    step: int
    network: Any
    average: Any
    optimiser: Any
    schedule: Any

    def write(self, path: Path) -> None:
        """Replace the file atomically.

        Raises:
            UsageError: It cannot be written.
        """
        content = io.BytesIO()
        torch.save({name: getattr(self, name) for name in self.__slots__}, content)
        write_file(path, content.getvalue())

    @classmethod
    def read(cls, path: Path, settings: str) -> Checkpoint | None:
        """Read the checkpoint of a stopped training; None without one.

        Raises:
            UsageError: The file is damaged, or belongs to a training with other settings.
        """
        if not path.exists():
            return None
        remedy = "give the same options to resume, delete the file to start over, or choose another --output"
        try:
            checkpoint = cls(**torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:
            raise UsageError(f"{path} is not a checkpoint of a stopped training; {remedy}") from error
        if checkpoint.settings != settings:
            raise UsageError(f"{path} belongs to another training ({checkpoint.settings}); {remedy}")
        return checkpoint
