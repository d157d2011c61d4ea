"""The detector of the package: YOLOX-Nano's network, trained further by `streamseg train spot`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from streamseg.models.detectors.yolox_graph import read_yolox_graph
from streamseg.models.trained_on import TrainedOn

TRAINED_ON_KEY: Final = "streamseg.spot.trained_on"
"""Of the file's properties: fingerprints of the photographs of its training."""


def shipped_network() -> Path:
    """The packaged file, in YOLOX's format."""
    return Path(__file__).with_name("spot.onnx")


def read_trained_on(path: Path) -> TrainedOn:
    """The photographs of the training of a file; none for one that does not tell them, such as YOLOX's own.

    Raises:
        CheckpointError: The file is not a YOLOX export.
    """
    properties = read_yolox_graph(path).model.metadata_props
    return TrainedOn.decode(next((entry.value for entry in properties if entry.key == TRAINED_ON_KEY), ""))
