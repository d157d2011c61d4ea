"""Exports MobileSAM's networks, and prints the name of each file after writing it.

python -m streamseg.models.segmenters.mobile_sam.export_process WEIGHTS FOLDER SIDE,ROWS,COLUMNS ...
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from streamseg.atomic import replacing
from streamseg.errors import CheckpointError
from streamseg.models.segmenters.mobile_sam.export import UNUSABLE, parts
from streamseg.models.segmenters.mobile_sam.input_grid import InputGrid
from streamseg.models.segmenters.mobile_sam.networks import build, load_weights, sample_inputs

_OPSET = 20


def export(weights: Path, folder: Path, grids: list[InputGrid]) -> None:
    """Write the export of each part of each grid into a folder.

    Raises:
        CheckpointError: The file is not a checkpoint of MobileSAM.
    """
    network = load_weights(weights)
    for grid in grids:
        for part in parts(grid):
            _write(build(network, part), sample_inputs(network, part), folder / part.filename)
            print(part.filename, flush=True)  # noqa: T201 - read by the parent process


def _write(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    # Several processes may export the same file at the same time.
    with replacing(path, writer=f".{os.getpid()}") as part, warnings.catch_warnings():
        # The other exporter needs another package and ten times as long.
        warnings.simplefilter("ignore")
        torch.onnx.export(module, inputs, str(part), opset_version=_OPSET, dynamo=False)


def main() -> int:
    """Run the command line."""
    weights, folder, *wanted = sys.argv[1:]
    try:
        export(Path(weights), Path(folder), [InputGrid(*map(int, grid.split(","))) for grid in wanted])
    except CheckpointError as error:
        print(error, file=sys.stderr)  # noqa: T201 - read by the parent process
        return UNUSABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
