"""Weights that are not on this machine: what is missing, why, and how to get it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from streamseg.errors import WeightsUnavailableError


@dataclass(frozen=True, slots=True)
class MissingFile:
    """A file of weights that is not on this machine.

    Attributes:
        name: As in the catalogue.
        target: Where it belongs.
        other: How the file at `target` differs from the right one; None without a file there.
        reason: Why it was not downloaded; None if that was not tried.
    """

    name: str
    url: str
    target: Path
    other: str | None
    reason: str | None = None

    @property
    def cause(self) -> str:
        """Why it is missing."""
        if self.other is not None:
            return f"the file {self.target.name} in the cache is not the one: {self.other}"
        return self.reason or "not in the cache"


class MissingWeightsError(WeightsUnavailableError):
    """Weights are missing; the message names each file, and where to put it.

    Attributes:
        files: The missing files.
    """

    def __init__(self, message: str, files: Sequence[MissingFile] = ()) -> None:
        super().__init__(message)
        self.files = tuple(files)

    @classmethod
    def of(cls, files: Sequence[MissingFile]) -> Self:
        """The error for these files, at least one."""
        downloads = " and ".join(f"{file.url} to {file.target}" for file in files)
        return cls(f"{_finding(files)}; with a network run `{_command(files)}`, or download {downloads}", files)


def fallback_lines(files: Sequence[MissingFile], used: str) -> list[str]:
    """What to tell when `used` takes the place of models without weights: the result and its cause, then the remedies.

    Args:
        files: The missing files, at least one.
        used: The models that run.
    """
    return [
        f"using {used}: {_finding(files)}",
        f"  with a network run `{_command(files)}`, or download",
        *(f"  {file.url} to {file.target}" for file in files),
    ]


def _finding(files: Sequence[MissingFile]) -> str:
    explained = [file for file in files if file.other is not None or file.reason is not None] or files
    causes = ", ".join(dict.fromkeys(file.cause for file in explained))
    return f"the weights of {' and '.join(file.name for file in files)} are not available ({causes})"


def _command(files: Sequence[MissingFile]) -> str:
    return f"streamseg weights fetch {' '.join(file.name for file in files)}"
