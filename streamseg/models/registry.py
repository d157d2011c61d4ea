"""Maps a model's name to what makes it: built-in detectors and segmenters, and plug-ins.

Importing this loads no model; the `create_` functions import what they make.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamseg.categories import COCO_CLASSES
from streamseg.errors import SettingsError
from streamseg.extras import require
from streamseg.models import Detector, Segmenter, StepProgress, plugins
from streamseg.models.detectors.classes import MOTION_CLASSES, box_classes, class_numbers
from streamseg.models.options import (
    DOWNLOADED_YOLOX,
    MOBILE_SAM,
    NANO,
    PYTORCH,
    SAM_MODELS,
    SPOT,
    YOLOX_MODELS,
    Compute,
    DetectorSettings,
    SegmenterSettings,
)
from streamseg.settings import check_settings

if TYPE_CHECKING:
    from streamseg.models.segmenters.nano.refiner import Refiner


def check_detector(settings: DetectorSettings) -> None:
    """Check a detector's settings without loading it. A plug-in checks its classes itself.

    Raises:
        SettingsError: A number is out of range, the model is unknown, several plug-ins have its name, or it has no such
            class or takes no weights.
    """
    check_settings(settings, "detector")
    model = settings.model
    if settings.weights is not None and model in ("motion", "fixed"):
        raise SettingsError(f"detector.weights: {model} takes no weights; leave the key out, or choose {SPOT}")
    if settings.weights is not None and model.endswith(".onnx"):
        raise SettingsError(f"detector.weights: detector.model already names a file, {model}; give one of the two")
    if model in YOLOX_MODELS and settings.weights is None:
        class_numbers(COCO_CLASSES, settings.classes)
    elif model == "motion":
        class_numbers(MOTION_CLASSES, settings.classes)
    elif model == "fixed":
        class_numbers(box_classes(settings.boxes), settings.classes)
    elif model not in YOLOX_MODELS and not model.endswith(".onnx"):
        _detector_plugin(model)


def check_segmenter(settings: SegmenterSettings) -> None:
    """Check a segmenter's settings without loading it.

    Raises:
        SettingsError: A value is out of range, the model is unknown, or several plug-ins have its name.
        MissingPackageError: The model needs PyTorch, which is not installed.
    """
    check_settings(settings, "segmenter")
    if settings.model in SAM_MODELS:
        require(PYTORCH, settings.model)
    if settings.model not in (*SAM_MODELS, NANO):
        _segmenter_plugin(settings.model)


def create_detector(settings: DetectorSettings, compute: Compute) -> Detector:
    """Make the detector that `settings.model` names.

    Raises:
        SettingsError: The model or a class is unknown, or a value is out of range.
        WeightsError: The weights are missing, cannot be downloaded, or are not those of a YOLOX model.
        StageError: A plug-in failed.
    """
    check_detector(settings)
    check_settings(compute)
    if settings.model in YOLOX_MODELS or settings.model.endswith(".onnx"):
        return _create_yolox(settings, compute)
    if settings.model == "motion":
        from streamseg.models.detectors.motion import MotionDetector

        return MotionDetector(settings)
    if settings.model == "fixed":
        from streamseg.models.detectors.fixed import FixedDetector

        return FixedDetector(settings)
    return plugins.PluginDetector(_detector_plugin(settings.model), settings, compute)


def create_segmenter(
    settings: SegmenterSettings, compute: Compute, exporting: StepProgress | None = None
) -> Segmenter[Any]:
    """Make the segmenter that `settings.model` names.

    Args:
        settings: The model, and what runs it.
        compute: The device and the threads.
        exporting: Called as MobileSAM's networks are exported, now and whenever a picture has a new shape.

    Raises:
        SettingsError: The model is unknown, or a value is out of range.
        WeightsError: The weights are missing, cannot be downloaded, or are not those of the model.
        UsageError: PyTorch cannot use the device.
        BackendError: No runtime runs MobileSAM on this machine.
        StageError: A plug-in failed.
    """
    check_segmenter(settings)
    check_settings(compute)
    if settings.model in SAM_MODELS:
        return _create_sam(settings, compute, exporting)
    if settings.model == NANO:
        from streamseg.models.segmenters.nano.segmenter import Nano

        return Nano(weights_path(settings), compute.threads)
    return plugins.PluginSegmenter(_segmenter_plugin(settings.model), settings, compute)


def create_refiner(segmenter: str) -> Refiner | None:
    """Make the network that refines propagated masks of a segmenter; None for nano, which is that network."""
    if segmenter == NANO:
        return None
    from streamseg.models.segmenters.nano.refiner import Refiner

    return Refiner()


def _create_yolox(settings: DetectorSettings, compute: Compute) -> Detector:
    from streamseg.models import weights
    from streamseg.models.detectors.spot import shipped_network
    from streamseg.models.detectors.yolox import YoloxDetector

    path = weights_path(settings)
    if settings.model == SPOT and path is None:
        return YoloxDetector(settings, compute, shipped_network())
    if settings.model in DOWNLOADED_YOLOX:
        return YoloxDetector(settings, compute, weights.resolve(settings.model, path=path))
    return YoloxDetector(settings, compute, weights.resolve("yolox", path=path or Path(settings.model)))


def _create_sam(settings: SegmenterSettings, compute: Compute, exporting: StepProgress | None) -> Segmenter[Any]:
    from streamseg.models import weights

    path = weights.resolve(settings.model, path=weights_path(settings))
    if settings.model == MOBILE_SAM:
        from streamseg.models.segmenters.mobile_sam.segmenter import MobileSam

        return MobileSam(path, settings, compute, exporting=exporting)
    from streamseg.models.segmenters.sam import Sam

    return Sam.load(path, architecture=settings.model, device=compute.device, threads=compute.threads)


def weights_path(settings: DetectorSettings | SegmenterSettings) -> Path | None:
    """The file of weights that the settings name, if they name one."""
    return None if settings.weights is None else Path(settings.weights)


def _detector_plugin(model: str) -> plugins.Plugin:
    return plugins.find(
        "detector", model, known=("auto", *YOLOX_MODELS, "motion", "fixed", "a file that ends in .onnx")
    )


def _segmenter_plugin(model: str) -> plugins.Plugin:
    return plugins.find("segmenter", model, known=("auto", *SAM_MODELS, NANO))
