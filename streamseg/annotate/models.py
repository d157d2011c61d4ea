"""The models that annotate: by name, or by files of the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2

from streamseg.errors import UsageError, WeightsError
from streamseg.models import Detector, Segmenter, registry, weights
from streamseg.models.options import MOBILE_SAM, NANO, SAM_MODELS, YOLOX_MODELS, DetectorOptions, SegmenterOptions
from streamseg.models.registry import create_detector, create_segmenter
from streamseg.models.runtime.base import Choice
from streamseg.models.segmenters.mobile_sam.export import export_beforehand
from streamseg.models.segmenters.mobile_sam.input_grid import CAMERA
from streamseg.models.weights import WeightsProgress


def check_detector(detector: DetectorOptions) -> None:
    """Check what can be known of a detector without loading anything.

    Raises:
        UsageError: It does not exist, has no such class, or makes no sense here.
    """
    if detector.model == "fixed":
        raise UsageError("fixed says the same of every picture, which makes no data set; choose a yolox detector")
    registry.check_detector(detector.model, detector.classes, official=detector.weights is None)


def detector_hash(detector: DetectorOptions) -> str | None:
    """The SHA-256 of the user's own weights; None where there are none, and the model's name says everything.

    Of weights that are no file, which only a plug-in may have, it is that of their name.

    Raises:
        WeightsError: The file is missing, or cannot be read.
    """
    is_file = detector.model.endswith(".onnx")
    path = Path(detector.model) if is_file else detector.weights
    return _hash(detector.model, path, plugin=not is_file and detector.model not in YOLOX_MODELS)


def segmenter_hash(segmenter: SegmenterOptions) -> str | None:
    """The same for a segmenter."""
    return _hash(segmenter.model, segmenter.weights, plugin=segmenter.model not in (*SAM_MODELS, NANO))


def load_detector(detector: DetectorOptions, progress: Callable[[WeightsProgress], None]) -> Detector:
    """Load a detector, fetching its weights where they are missing. OpenCV, too, uses its threads from now on.

    Raises:
        StreamsegError: It cannot be made as asked for, or has no weights.
    """
    cv2.setNumThreads(detector.threads)
    if detector.model in YOLOX_MODELS:
        detector = replace(detector, weights=weights.resolve(detector.model, path=detector.weights, progress=progress))
    return create_detector(detector)


def load_segmenter(
    segmenter: SegmenterOptions, progress: Callable[[WeightsProgress], None], exporting: Callable[[int, int], None]
) -> Segmenter[Any]:
    """Load a segmenter, fetching and exporting its weights where that was not done before.

    Args:
        segmenter: Which.
        progress: Is told how that goes on.
        exporting: Is told later how many networks of how many are exported for pictures of a new shape.

    Raises:
        StreamsegError: It cannot be made as asked for, or has no weights.
    """
    if segmenter.model in SAM_MODELS:
        path = weights.resolve(segmenter.model, path=segmenter.weights, progress=progress)
        segmenter = replace(segmenter, weights=path)
        if segmenter.model == MOBILE_SAM:
            export_beforehand(path, Choice.of(segmenter), [CAMERA], segmenter.imgsz, progress)
    return create_segmenter(segmenter, exporting)


def _hash(model: str, path: Path | None, *, plugin: bool) -> str | None:
    if path is None:
        return None
    try:
        if plugin and not path.is_file():
            return hashlib.sha256(bytes(path)).hexdigest()
        return weights.file_hash(weights.resolve(model, path=path))
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror or error}; give weights of {model} that can be"
        ) from error
