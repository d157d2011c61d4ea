"""Where a training stands, on disk, so that it goes on after a stop."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from streamseg.atomic import write_atomically
from streamseg.errors import UsageError


def write_file(path: Path, content: bytes) -> None:
    """Replace a file at once and whole.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}; "
            "make room, and give the same command again: it goes on from the last checkpoint"
        ) from error


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that a training needs to go on as if it had never stopped.

    Attributes:
        settings: What the training was asked for, as one line; another training does not go on from here.
        step: Batches done.
        network: State of the network.
        average: State of its running average.
        optimiser: State of the optimiser.
        schedule: State of the learning rate's schedule.
    """

    settings: str
    step: int
    network: Any
    average: Any
    optimiser: Any
    schedule: Any

    def write(self, path: Path) -> None:
        """Replace the file at once and whole.

        Raises:
            UsageError: It cannot be written.
        """
        content = io.BytesIO()
        torch.save({name: getattr(self, name) for name in self.__slots__}, content)
        write_file(path, content.getvalue())

    @classmethod
    def read(cls, path: Path, settings: str) -> Checkpoint | None:
        """The checkpoint of a training that was stopped, or None where there is none.

        Raises:
            UsageError: The file is damaged, or belongs to a training that was asked for something else.
        """
        if not path.exists():
            return None
        remedy = "give the same options to go on, delete the file to begin anew, or choose another --output"
        try:
            checkpoint = cls(**torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:
            raise UsageError(f"{path} cannot be read as a training that was stopped; {remedy}") from error
        if checkpoint.settings != settings:
            raise UsageError(f"{path} belongs to another training ({checkpoint.settings}); {remedy}")
        return checkpoint
