"""MobileSAM's networks as ONNX files, kept in the cache beside the weights.

They are made in a process of its own, so that whoever runs them never loads PyTorch.
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
from streamseg.models.options import MOBILE_SAM
from streamseg.models.runtime.base import Choice, candidates
from streamseg.models.segmenters.mobile_sam.input_grid import InputGrid
from streamseg.models.segmenters.resizing import Size
from streamseg.models.weights import WeightsProgress, file_hash, weights_directory

FORMAT = 3
"""Goes up whenever the networks change, so that no older export is taken for one of them."""
BOX_BATCHES = (1, 4)
"""For so many boxes there is a decoder; other numbers are made up of these."""

UNUSABLE = 2
"""Exit status of the process that exports when the weights are to blame."""


@dataclass(frozen=True, slots=True)
class Part:
    """One network of fixed shapes.

    Attributes:
        name: `encoder`, `terms` or `decoder-<boxes>`.
        grid: What it is for.
    """

    name: str
    grid: InputGrid

    @property
    def filename(self) -> str:
        """Of its export."""
        return f"{self.name}-{self.grid}.onnx"


def parts(grid: InputGrid) -> tuple[Part, ...]:
    """All networks that a grid needs."""
    return tuple(Part(name, grid) for name in ("encoder", "terms", *(f"decoder-{boxes}" for boxes in BOX_BATCHES)))


@dataclass(frozen=True, slots=True)
class Exports:
    """The exports of one file of weights.

    Attributes:
        weights: The file.
        folder: Where they are, which is another one for other weights and other versions.
    """

    weights: Path
    folder: Path

    @classmethod
    def of(cls, weights: Path) -> Exports:
        """Find the folder of a file of weights, which may not exist yet.

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
        """Where the export of a part is, or will be."""
        return self.folder / part.filename

    def missing(self, grids: Sequence[InputGrid]) -> list[InputGrid]:
        """The grids that have not been exported, or not in full."""
        return [grid for grid in grids if not all(self.path(part).is_file() for part in parts(grid))]

    def remove(self, grid: InputGrid) -> None:
        """Forget what was exported for a grid, so that it is exported anew.

        Raises:
            WeightsError: The cache cannot be written.
        """
        try:
            for part in parts(grid):
                self.path(part).unlink(missing_ok=True)
        except OSError as error:
            raise self._not_written(error) from error

    def have(self, grids: Sequence[InputGrid], progress: Callable[[int, int], None] | None = None) -> None:
        """Export what is missing. Safe in several processes at once; a file has its name only when it is complete.

        Args:
            grids: What for.
            progress: Is told how many networks of how many are written.

        Raises:
            WeightsError: The file is not a checkpoint of MobileSAM, or the cache cannot be written.
        """
        if not self.missing(grids):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock"):
                # Another process may have exported them meanwhile.
                missing = self.missing(grids)
                if missing:
                    self._export(missing, progress or (lambda done, total: None))
        except OSError as error:
            raise self._not_written(error) from error

    def _not_written(self, error: OSError) -> WeightsError:
        return WeightsError(
            f"{self.folder} cannot be written: {error.strerror or error}; make room, or set STREAMSEG_CACHE"
        )

    def _export(self, grids: Sequence[InputGrid], progress: Callable[[int, int], None]) -> None:
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
                said = process.stderr.read().strip()
            except BaseException:
                process.kill()
                raise
        if process.returncode == UNUSABLE:
            raise CheckpointError(said)
        if process.returncode:
            last = said.splitlines()[-1] if said else f"exit status {process.returncode}"
            raise WeightsError(f"{self.weights} could not be exported: {last}; choose --set segmenter.backend=torch")


def export_beforehand(
    weights: Path,
    choice: Choice,
    sizes: Sequence[Size],
    imgsz: int,
    progress: Callable[[WeightsProgress], None] | None = None,
) -> None:
    """Have the exports for pictures of these heights and widths, unless what runs MobileSAM here needs none.

    Args:
        weights: The file.
        choice: The runtime, as the user wants it.
        sizes: Of pictures, in pixels.
        imgsz: Side of the network's input.
        progress: Is told how it goes on.

    Raises:
        SettingsError: The backend is not installed, or has no such precision here.
        WeightsError: The file is not a checkpoint of MobileSAM, or the cache cannot be written.
    """

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(WeightsProgress(MOBILE_SAM, done, total, activity="exporting"))

    if candidates(choice)[0].reads_exports:
        grids = list(dict.fromkeys(InputGrid.of_picture(size, imgsz) for size in sizes))
        Exports.of(weights).have(grids, report)
