"""Maps a model's name to what makes it: built-in detectors and segmenters, and plug-ins.

Importing this loads no model; `create_detector` and `create_segmenter` import what they make.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamseg.errors import SettingsError
from streamseg.models import Detector, Segmenter, plugins
from streamseg.models.detectors.classes import COCO_CLASSES, MOTION_CLASSES, class_numbers
from streamseg.models.options import (
    MOBILE_SAM,
    NANO,
    SAM_MODELS,
    YOLOX_MODELS,
    DetectorOptions,
    SegmenterOptions,
)

if TYPE_CHECKING:
    from streamseg.models.segmenters.nano.refiner import Refiner


def check_detector(model: str, classes: tuple[str | int, ...] | None, *, official: bool) -> None:
    """Check a detector's name and classes without loading it. A plug-in checks its classes itself.

    Args:
        model: As in `DetectorOptions`.
        classes: The classes to keep, or None.
        official: Whether the official weights are used, whose classes are known.

    Raises:
        SettingsError: The model is unknown, several plug-ins have its name, or it has no such class.
    """
    if model in YOLOX_MODELS and official:
        class_numbers(COCO_CLASSES, classes)
    elif model == "motion":
        class_numbers(MOTION_CLASSES, classes)
    elif model not in (*YOLOX_MODELS, "fixed") and not model.endswith(".onnx"):
        _detector_plugin(model)


def check_segmenter(model: str) -> None:
    """Check a segmenter's name without loading it.

    Raises:
        SettingsError: The model is unknown, or several plug-ins have its name.
    """
    if model not in (*SAM_MODELS, NANO):
        _segmenter_plugin(model)


def create_detector(options: DetectorOptions) -> Detector:
    """Make the detector that `options.model` names.

    Raises:
        SettingsError: The model or a class is unknown, or a required option is missing.
        WeightsError: The weights are missing, cannot be downloaded, or are not those of a YOLOX model.
        StageError: A plug-in failed.
    """
    if options.model in YOLOX_MODELS or options.model.endswith(".onnx"):
        return _create_yolox(options)
    if options.weights is not None and options.model in ("motion", "fixed"):
        raise SettingsError(
            f"detector.weights: {options.model} takes no weights; leave the key out, or choose a yolox model"
        )
    if options.model == "motion":
        from streamseg.models.detectors.motion import MotionDetector

        return MotionDetector(options)
    if options.model == "fixed":
        from streamseg.models.detectors.fixed import FixedDetector

        return FixedDetector(options)
    return plugins.PluginDetector(_detector_plugin(options.model), options)


def create_segmenter(options: SegmenterOptions, exporting: Callable[[int, int], None] | None = None) -> Segmenter[Any]:
    """Make the segmenter that `options.model` names.

    Args:
        options: The model, and where it computes.
        exporting: Called with the number of MobileSAM's networks exported so far and their total, now and whenever a
            picture has a new shape.

    Raises:
        SettingsError: The model is unknown.
        WeightsError: The weights are missing, cannot be downloaded, or are not those of the model.
        UsageError: PyTorch cannot use the device.
        BackendError: No runtime runs MobileSAM on this machine.
        StageError: A plug-in failed.
    """
    check_segmenter(options.model)
    if options.model in SAM_MODELS:
        return _create_sam(options, exporting)
    if options.model == NANO:
        from streamseg.models.segmenters.nano.segmenter import Nano

        return Nano(options.weights, options.threads)
    return plugins.PluginSegmenter(_segmenter_plugin(options.model), options)


def create_refiner(segmenter: str) -> Refiner | None:
    """Make the network that refines propagated masks of that segmenter; None for nano, which has nothing to add to itself."""
    if segmenter == NANO:
        return None
    from streamseg.models.segmenters.nano.refiner import Refiner

    return Refiner()


def _create_yolox(options: DetectorOptions) -> Detector:
    from streamseg.models import weights
    from streamseg.models.detectors.yolox import YoloxDetector

    if options.model in YOLOX_MODELS:
        return YoloxDetector(options, weights.resolve(options.model, path=options.weights))
    if options.weights is not None:
        raise SettingsError(
            f"detector.weights: detector.model already names a file, {options.model}; give one of the two"
        )
    return YoloxDetector(options, weights.resolve("yolox", path=Path(options.model)))


def _create_sam(options: SegmenterOptions, exporting: Callable[[int, int], None] | None) -> Segmenter[Any]:
    from streamseg.models import weights

    path = weights.resolve(options.model, path=options.weights)
    if options.model == MOBILE_SAM:
        from streamseg.models.runtime.base import Choice
        from streamseg.models.segmenters.mobile_sam.segmenter import MobileSam

        return MobileSam(path, Choice.of(options), options.imgsz, exporting=exporting)
    from streamseg.models.segmenters.sam import Sam

    return Sam.load(path, architecture=options.model, device=options.device, threads=options.threads)


def _detector_plugin(model: str) -> plugins.Plugin:
    return plugins.find(
        "detector", model, known=("auto", *YOLOX_MODELS, "motion", "fixed", "a file that ends in .onnx")
    )


def _segmenter_plugin(model: str) -> plugins.Plugin:
    return plugins.find("segmenter", model, known=("auto", *SAM_MODELS, NANO))
