"""MobileSAM's networks as ONNX files in the cache, beside the weights.

A separate process exports them, so that the process that runs them never loads PyTorch.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from streamseg.errors import CheckpointError, WeightsError
from streamseg.locks import remove_and_release
from streamseg.models import StepProgress
from streamseg.models.options import MOBILE_SAM, Compute, SegmenterSettings
from streamseg.models.runtime.selection import candidates
from streamseg.models.segmenters.mobile_sam.input_grid import InputGrid
from streamseg.models.segmenters.resizing import Size
from streamseg.models.weights import WeightsProgress, check_is_checkpoint, file_hash, weights_directory

FORMAT = 3
"""Raise it whenever the networks change, so that older exports are not used."""
BOX_BATCHES = (1, 4)
"""Batch sizes that have a decoder; other numbers of boxes are split into these."""

UNUSABLE = 2
"""Exit status of the exporting process when the file is no checkpoint of MobileSAM."""


@dataclass(frozen=True, slots=True)
class Part:
    """One network of fixed shapes.

    Attributes:
        name: `encoder`, `terms` or `decoder-<boxes>`.
        grid: The input grid it is for.
    """

    name: str
    grid: InputGrid

    @property
    def filename(self) -> str:
        """File name of its export."""
        return f"{self.name}-{self.grid}.onnx"


def parts(grid: InputGrid) -> tuple[Part, ...]:
    """List the networks that a grid needs."""
    return tuple(Part(name, grid) for name in ("encoder", "terms", *(f"decoder-{boxes}" for boxes in BOX_BATCHES)))


@dataclass(frozen=True, slots=True)
class Exports:
    """The exports of one file of weights.

    Attributes:
        weights: The file.
        folder: Differs for other weights and other versions.
    """

    weights: Path
    folder: Path

    @classmethod
    def of(cls, weights: Path) -> Exports:
        """Find the exports of a file of weights; the folder may not exist yet.

        Raises:
            WeightsError: The file cannot be read.
        """
        try:
            made_of = [
                file_hash(weights),
                str(FORMAT),
                *(version(package) for package in ("streamseg", "torch", "timm")),
            ]
        except OSError as error:
            raise WeightsError(
                f"{weights} cannot be read: {error.strerror or error}; give a file of weights"
            ) from error
        key = hashlib.sha256(" ".join(made_of).encode()).hexdigest()[:16]
        return cls(weights, weights_directory() / "exports" / f"mobilesam-{key}")

    def path(self, part: Part) -> Path:
        """Path of a part's export, which may not exist yet."""
        return self.folder / part.filename

    def missing(self, grids: Sequence[InputGrid]) -> list[InputGrid]:
        """List the grids that are not exported completely."""
        return [grid for grid in grids if not all(self.path(part).is_file() for part in parts(grid))]

    def remove(self, grid: InputGrid) -> None:
        """Remove a grid's exports, so that it is exported again.

        Raises:
            WeightsError: The cache cannot be written.
        """
        try:
            for part in parts(grid):
                self.path(part).unlink(missing_ok=True)
        except OSError as error:
            raise self._not_written(error) from error

    def ensure(self, grids: Sequence[InputGrid], progress: StepProgress | None = None) -> None:
        """Export what is missing. Safe in several processes at once; a file has its name only when it is complete.

        Args:
            grids: The input grids.
            progress: Called after each network.

        Raises:
            WeightsError: The file is not a checkpoint of MobileSAM, or the cache cannot be written.
        """
        if not self.missing(grids):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            lock.acquire()
            try:
                # Another process may have exported them in the meantime.
                missing = self.missing(grids)
                if missing:
                    self._export(missing, progress or (lambda done, total: None))
            finally:
                remove_and_release(lock)
        except OSError as error:
            raise self._not_written(error) from error

    def _not_written(self, error: OSError) -> WeightsError:
        return WeightsError(
            f"{self.folder} cannot be written: {error.strerror or error}; make room, or set STREAMSEG_CACHE"
        )

    def _export(self, grids: Sequence[InputGrid], progress: StepProgress) -> None:
        check_is_checkpoint(self.weights)
        wanted = [f"{grid.side},{grid.rows},{grid.columns}" for grid in grids]
        total = sum(len(parts(grid)) for grid in grids)
        progress(0, total)
        command = [
            sys.executable,
            "-m",
            "streamseg.models.segmenters.mobile_sam.export_process",
            str(self.weights),
            str(self.folder),
            *wanted,
        ]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            try:
                for done, _ in enumerate(process.stdout, 1):
                    progress(done, total)
                errors = process.stderr.read().strip()
            except BaseException:
                process.kill()
                raise
        if process.returncode == UNUSABLE:
            raise CheckpointError(errors)
        if process.returncode:
            last = errors.splitlines()[-1] if errors else f"exit status {process.returncode}"
            raise WeightsError(f"{self.weights} could not be exported: {last}; choose --set segmenter.backend=torch")


def exported_sizes(weights: Path, settings: SegmenterSettings, compute: Compute, sizes: Sequence[Size]) -> list[Size]:
    """Those of these heights and widths for whose pictures no network has to be exported first.

    Args:
        weights: The file.
        settings: Select the runtime and the input's size.
        compute: The device and the threads.
        sizes: Of pictures, in pixels.

    Raises:
        SettingsError: The backend is not installed, or lacks that precision on this machine.
        WeightsError: The file cannot be read.
    """
    if not candidates(settings, compute)[0].reads_exports:
        return list(sizes)
    exports = Exports.of(weights)
    return [size for size in sizes if not exports.missing([InputGrid.of_picture(size, settings.imgsz)])]


def export_beforehand(
    weights: Path,
    settings: SegmenterSettings,
    compute: Compute,
    sizes: Sequence[Size],
    progress: Callable[[WeightsProgress], None] | None = None,
) -> None:
    """Make the exports for pictures of these heights and widths, unless the runtime needs none.

    Args:
        weights: The file.
        settings: Select the runtime and the input's size.
        compute: The device and the threads.
        sizes: Of pictures, in pixels.
        progress: Called after each network.

    Raises:
        SettingsError: The backend is not installed, or lacks that precision on this machine.
        WeightsError: The file is not a checkpoint of MobileSAM, or the cache cannot be written.
    """

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(WeightsProgress(MOBILE_SAM, done, total, activity="exporting"))

    if candidates(settings, compute)[0].reads_exports:
        grids = list(dict.fromkeys(InputGrid.of_picture(size, settings.imgsz) for size in sizes))
        Exports.of(weights).ensure(grids, report)
