"""A larger detector, whose outputs spot learns besides the labels: it names what the labels leave out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamseg.errors import UsageError
from streamseg.models.detectors.yolox_graph import read_yolox_graph
from streamseg.models.runtime.onnx import open_session

Rows = NDArray[np.float32]


class Teacher:
    """A YOLOX export, run on the very inputs that spot gets: its cells are spot's.

    Args:
        path: The export.
        classes: How many classes spot has.

    Raises:
        CheckpointError: The file is not a YOLOX export.
        UsageError: It has other classes.
    """

    def __init__(self, path: Path, classes: int) -> None:
        self._graph = read_yolox_graph(path)
        if self._graph.class_count != classes:
            raise UsageError(
                f"--teacher {path} has {self._graph.class_count} classes, and the labels {classes}; leave it out"
            )
        self._sessions: dict[tuple[int, int], Any] = {}

    def rows(self, pictures: NDArray[np.uint8]) -> Rows:
        """Outputs for pictures of shape (n, 3, height, width), BGR: shape (n, cells, 5 + classes).

        Objectness and classes are probabilities.
        """
        size = (pictures.shape[2], pictures.shape[3])
        if size not in self._sessions:
            self._sessions[size] = open_session(self._graph.reshaped(*size), threads=1)
        session = self._sessions[size]
        name = session.get_inputs()[0].name
        return np.concatenate([session.run(None, {name: one[None].astype(np.float32)})[0] for one in pictures])
