"""Looks for the weights of several models together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamseg.errors import WeightsError
from streamseg.models.missing import MissingFile, MissingWeightsError
from streamseg.models.weights import Report, locate, resolve


class WeightsSearch:
    """Finds the weights of several models, so that all that is missing is named at once.

    Attributes:
        missing: The files that no model can use.
    """

    def __init__(self, progress: Report | None, *, offline: bool = False) -> None:
        """Download what is missing, unless `offline`."""
        self._progress = progress
        self._offline = offline
        self._failures: list[WeightsError] = []
        self._needed = False
        self.missing: list[MissingFile] = []

    def find(self, model: str, path: Path | None, *, needed: bool = True, sha256: str | None = None) -> Path | None:
        """Path of a model's weights, downloaded if necessary; None if they are missing.

        After a failure nothing more is downloaded: without a network for one model there is none for the other.

        Args:
            model: As in the catalogue.
            path: A file of the user's own.
            needed: Whether no other model takes the place of this one.
            sha256: Expected hash, in place of the catalogue's.
        """
        return self._try(
            lambda offline: resolve(model, path=path, sha256=sha256, offline=offline, progress=self._progress), needed
        )

    def locate(self, model: str) -> Path | None:
        """Path of the weights that a user names, a file or anything in the catalogue; None if they are missing."""
        return self._try(lambda offline: locate(model, offline=offline, progress=self._progress), needed=True)

    def _try(self, find: Callable[[bool], Path], needed: bool) -> Path | None:
        try:
            return find(self._offline or bool(self._failures or self.missing))
        except MissingWeightsError as error:
            self.missing += error.files
            self._needed |= needed
        except WeightsError as error:
            self._failures.append(error)
        return None

    def check(self) -> None:
        """Raise one error for everything that is missing or wrong, if a needed model lacks it.

        Raises:
            WeightsError: Something is missing or wrong that nothing replaces.
        """
        missing = [MissingWeightsError.of(self.missing)] if self.missing else []
        if len(self._failures) == 1 and not missing:
            raise self._failures[0]
        if self._failures:
            raise WeightsError("; ".join(map(str, [*self._failures, *missing])))
        if self._needed:
            raise missing[0]
