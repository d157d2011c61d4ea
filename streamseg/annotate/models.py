"""Loads the models of `annotate`, by name or from the user's files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from msgspec.structs import replace

from streamseg.errors import UsageError, WeightsError
from streamseg.models import Detector, Segmenter, weights
from streamseg.models.options import (
    DOWNLOADED_YOLOX,
    MOBILE_SAM,
    NANO,
    SAM_MODELS,
    YOLOX_MODELS,
    Compute,
    DetectorSettings,
    SegmenterSettings,
)
from streamseg.models.registry import create_detector, create_segmenter, weights_path
from streamseg.models.search import WeightsSearch
from streamseg.models.segmenters.mobile_sam.export import export_beforehand
from streamseg.models.segmenters.mobile_sam.input_grid import CAMERA
from streamseg.models.weights import WeightsProgress


def check_varies(model: str) -> None:
    """Check that a detector's boxes depend on the picture.

    Raises:
        UsageError: They do not.
    """
    if model == "fixed":
        raise UsageError("fixed returns the same boxes for every picture; choose a yolox detector")


def detector_hash(detector: DetectorSettings) -> str | None:
    """SHA-256 of the user's own weights; None without such weights: then the model's name identifies them.

    Weights that are no file, which only a plug-in may have, count by their name.

    Raises:
        WeightsError: The file is missing, or cannot be read.
    """
    is_file = detector.model.endswith(".onnx")
    path = detector.model if is_file else detector.weights
    return _hash(detector.model, path, plugin=not is_file and detector.model not in YOLOX_MODELS)


def segmenter_hash(segmenter: SegmenterSettings) -> str | None:
    """SHA-256 of the user's own weights for a segmenter, as for a detector."""
    return _hash(segmenter.model, segmenter.weights, plugin=segmenter.model not in (*SAM_MODELS, NANO))


def find_detector(detector: DetectorSettings, search: WeightsSearch) -> DetectorSettings:
    """The settings with the file of the weights, fetched if necessary; the search notes what is missing."""
    if detector.model not in DOWNLOADED_YOLOX:
        return detector
    return replace(detector, weights=str(search.find(detector.model, weights_path(detector))))


def find_segmenter(segmenter: SegmenterSettings, search: WeightsSearch) -> SegmenterSettings:
    """The same for a segmenter."""
    if segmenter.model not in SAM_MODELS:
        return segmenter
    return replace(segmenter, weights=str(search.find(segmenter.model, weights_path(segmenter))))


def load_detector(detector: DetectorSettings, compute: Compute) -> Detector:
    """Load a detector. OpenCV gets the same number of threads.

    Raises:
        StreamsegError: The model cannot be created.
    """
    if compute.threads is not None:
        cv2.setNumThreads(compute.threads)
    return create_detector(detector, compute)


def load_segmenter(
    segmenter: SegmenterSettings,
    compute: Compute,
    progress: Callable[[WeightsProgress], None],
    exporting: Callable[[int, int], None],
) -> Segmenter[Any]:
    """Load a segmenter, and export its weights if necessary.

    Args:
        segmenter: The model, and what runs it.
        compute: The device and the threads.
        progress: Called as weights are exported.
        exporting: Called later, as networks are exported for pictures of a new shape.

    Raises:
        StreamsegError: The model cannot be created.
    """
    if segmenter.model == MOBILE_SAM and segmenter.weights is not None:
        export_beforehand(Path(segmenter.weights), segmenter, compute, [CAMERA], progress)
    return create_segmenter(segmenter, compute, exporting)


def _hash(model: str, given: str | None, *, plugin: bool) -> str | None:
    if given is None:
        return None
    path = Path(given)
    try:
        if plugin and not path.is_file():
            return hashlib.sha256(bytes(path)).hexdigest()
        return weights.file_hash(weights.resolve(model, path=path))
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror or error}; give readable weights of {model}"
        ) from error
