"""The file of a trained network: ONNX, weights in half precision, with fingerprints of its training data.

`streamseg train nano` writes such files; one is part of the package.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamseg.errors import CheckpointError
from streamseg.models.runtime.onnx import ERRORS, open_session
from streamseg.models.segmenters.nano import SIDE

PICTURES: Final = "pictures"
HINTS: Final = "hints"
LOGITS: Final = "logits"
QUALITY: Final = "predicted_iou"
FORMAT_KEY: Final = "streamseg.nano"
TRAINED_ON_KEY: Final = "streamseg.nano.trained_on"
FORMAT: Final = "1"
_FINGERPRINT_BYTES = 5
_REMEDY = "expected a file that `streamseg train nano` wrote"

Batch = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """Fingerprints of the photographs that a network was trained on, to exclude them from measurements."""

    fingerprints: frozenset[bytes]

    def saw(self, photograph: bytes) -> bool:
        """Whether a photograph with that content is among them."""
        return fingerprint(photograph) in self.fingerprints

    def encode(self) -> str:
        """Encode for the file."""
        return base64.b85encode(b"".join(sorted(self.fingerprints))).decode()

    @classmethod
    def decode(cls, text: str) -> TrainedOn:
        """The inverse of `encode`; raises ValueError."""
        joined = base64.b85decode(text)
        return cls(
            frozenset(joined[first : first + _FINGERPRINT_BYTES] for first in range(0, len(joined), _FINGERPRINT_BYTES))
        )


def fingerprint(photograph: bytes) -> bytes:
    """Return the first bytes of the SHA-256 of a file's content."""
    return hashlib.sha256(photograph).digest()[:_FINGERPRINT_BYTES]


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
        self._session = _open(named, shipped_network() if path is None else _read(path), threads)
        notes = self._session.get_modelmeta().custom_metadata_map
        if notes.get(FORMAT_KEY) != FORMAT:
            raise CheckpointError(f"{named} is not a network of nano in format {FORMAT}; {_REMEDY}")
        try:
            self.trained_on = TrainedOn.decode(notes.get(TRAINED_ON_KEY, ""))
        except ValueError as error:
            raise CheckpointError(f"{named} is damaged: {error}; {_REMEDY}") from error

    def __call__(self, pictures: Batch, hints: Batch) -> tuple[Batch, Batch]:
        """Return logits of shape (n, SIDE, SIDE), above zero on the object, and predicted IoU of shape (n,), 0 to 1.

        Args:
            pictures: Shape (n, 3, SIDE, SIDE), BGR, about -1 to 1.
            hints: Shape (n, 3, SIDE, SIDE): the box and the prior, 0 to 1, and ones if there is a prior.
        """
        logits, qualities = self._session.run((LOGITS, QUALITY), {PICTURES: pictures, HINTS: hints})
        return logits, qualities


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; {_REMEDY}") from error


def _open(named: str, content: bytes, threads: int | None) -> Any:
    try:
        session = open_session(content, threads)
        blank = np.zeros((1, 3, SIDE, SIDE), np.float32)
        shapes = [output.shape for output in session.run((LOGITS, QUALITY), {PICTURES: blank, HINTS: blank})]
    except (*ERRORS, ValueError) as error:
        raise CheckpointError(
            f"{named} cannot be read as a network of nano: it is damaged, or another kind of file; {_REMEDY}"
        ) from error
    if shapes != [(1, SIDE, SIDE), (1,)]:
        raise CheckpointError(f"{named} has other output shapes than a network of nano; {_REMEDY}")
    return session
