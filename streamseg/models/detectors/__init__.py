"""Detectors: boxes of the objects in one frame. None of them needs torch, and only YOLOX needs ONNX Runtime."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from streamseg.errors import SettingsError
from streamseg.messages import Box
from streamseg.models import Detector
from streamseg.models.detector_names import YOLOX_MODELS, detector_plugin
from streamseg.models.plugins import PluginDetector


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorOptions:
    """What to detect, and how.

    Attributes:
        model: One of `YOLOX_MODELS`, `motion`, `fixed`, the path of a YOLOX export that ends in `.onnx`, or the name of an
            entry point of the group `streamseg.detectors`.
        weights: The file of a YOLOX model; None takes the official one from the cache, or downloads it.
        conf: Objects below this confidence are left out, 0 to 1.
        iou: Of two boxes of one class that overlap by more than this, the less confident goes (YOLOX), 0 to 1.
        max_det: At most so many objects a frame, the most confident ones.
        imgsz: Longer side of YOLOX's input, a multiple of 32; None takes the side that the model was exported with.
        classes: Names or numbers of the classes to keep; None keeps all. For a plug-in any text: what it is to look for.
        boxes: What `fixed` returns: boxes in pixels of the frame, each with the name of its class.
        device: Where a plug-in computes: PyTorch's name of a device, or `auto`. All others compute on the CPU.
        threads: Threads of the model.

    Raises:
        SettingsError: A number lies outside its range.
    """

    model: str
    weights: Path | None = None
    conf: float = 0.25
    iou: float = 0.45
    max_det: int = 300
    imgsz: int | None = None
    classes: tuple[str | int, ...] | None = None
    boxes: tuple[tuple[Box, str], ...] = ()
    device: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        for key, share in (("conf", self.conf), ("iou", self.iou)):
            if not 0.0 <= share <= 1.0:
                raise SettingsError(f"detector.{key}: {share} is not between 0 and 1")
        if self.max_det < 1:
            raise SettingsError(f"detector.max_det: {self.max_det} is not positive")
        if self.imgsz is not None and (self.imgsz < 32 or self.imgsz % 32):
            raise SettingsError(f"detector.imgsz: {self.imgsz} is not a positive multiple of 32")
        for box, _ in self.boxes:
            left, top, right, bottom = box
            if not all(map(math.isfinite, box)) or right <= left or bottom <= top:
                raise SettingsError(f"detector.boxes: {box} is not x1,y1,x2,y2 with x1 < x2 and y1 < y2")
        if self.threads < 1:
            raise SettingsError(f"threads: {self.threads} is not positive")


def create_detector(options: DetectorOptions) -> Detector:
    """Make the detector that `options.model` names.

    Raises:
        SettingsError: The model or a class is unknown, or what the model needs was not given.
        WeightsError: The weights are missing, cannot be fetched, or are not those of a YOLOX model.
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
    return PluginDetector(detector_plugin(options.model), options)


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
