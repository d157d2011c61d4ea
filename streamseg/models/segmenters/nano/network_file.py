"""The file of a trained network: ONNX, weights in half precision, with fingerprints of its training data.

`streamseg train nano` and `streamseg train nano-l` write such files; one of the first is part of the package. The shape
of the inputs shows the side of the network's pictures.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamseg.errors import CheckpointError
from streamseg.models.runtime.onnx import ERRORS, open_session
from streamseg.models.segmenters.nano import HINT_PLANES
from streamseg.models.trained_on import TrainedOn

PICTURES: Final = "pictures"
HINTS: Final = "hints"
LOGITS: Final = "logits"
QUALITY: Final = "predicted_iou"
FORMAT_KEY: Final = "streamseg.nano"
TRAINED_ON_KEY: Final = "streamseg.nano.trained_on"
FORMAT: Final = "2"
_SIDES: Final = range(32, 513, 32)
"""Of the pictures of a network."""
_REMEDY = "expected a file that `streamseg train nano` wrote"

Batch = NDArray[np.float32]


def shipped_network() -> bytes:
    """Return the content of the packaged file."""
    return files("streamseg.models.segmenters.nano").joinpath("nano.onnx").read_bytes()


class OnnxNetwork:
    """A trained network in ONNX Runtime.

    Args:
        path: A file; None takes the packaged one.
        threads: Number of threads; None leaves it to ONNX Runtime.

    Raises:
        CheckpointError: The file cannot be read, or is not a network of nano.
    """

    def __init__(self, path: Path | None = None, threads: int | None = None) -> None:
        named = "the packaged network" if path is None else str(path)
        self._session, self._side = _open(named, shipped_network() if path is None else _read(path), threads)
        notes = self._session.get_modelmeta().custom_metadata_map
        if notes.get(FORMAT_KEY) != FORMAT:
            raise CheckpointError(f"{named} is not a network of nano in format {FORMAT}; {_REMEDY}")
        try:
            self.trained_on = TrainedOn.decode(notes.get(TRAINED_ON_KEY, ""))
        except ValueError as error:
            raise CheckpointError(f"{named} is damaged: {error}; {_REMEDY}") from error

    @property
    def side(self) -> int:
        """Side of its pictures, in pixels."""
        return self._side

    def __call__(self, pictures: Batch, hints: Batch) -> tuple[Batch, Batch]:
        """Return logits of shape (n, side, side), above zero on the object, and predicted IoU of shape (n,), 0 to 1.

        Args:
            pictures: Shape (n, 3, side, side), BGR, about -1 to 1.
            hints: Shape (n, HINT_PLANES, side, side), 0 to 1.
        """
        logits, qualities = self._session.run((LOGITS, QUALITY), {PICTURES: pictures, HINTS: hints})
        return logits, qualities


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; {_REMEDY}") from error


def _open(named: str, content: bytes, threads: int | None) -> tuple[Any, int]:
    """A session that runs, and the side of its pictures."""
    try:
        session = open_session(content, threads)
        given = {value.name: value.shape for value in session.get_inputs()}
        side = (given.get(PICTURES) or [0])[-1]
        if side not in _SIDES:
            raise ValueError("no input of such a side")
        blank = {PICTURES: _blank(3, side), HINTS: _blank(HINT_PLANES, side)}
        shapes = [output.shape for output in session.run((LOGITS, QUALITY), blank)]
    except (*ERRORS, ValueError) as error:
        raise CheckpointError(
            f"{named} cannot be read as a network of nano: it is damaged, or another kind of file; {_REMEDY}"
        ) from error
    if shapes != [(1, side, side), (1,)]:
        raise CheckpointError(f"{named} has other output shapes than a network of nano; {_REMEDY}")
    return session, side


def _blank(planes: int, side: int) -> Batch:
    return np.zeros((1, planes, side, side), np.float32)
