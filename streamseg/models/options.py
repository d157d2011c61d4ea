"""Names and settings of the models. A model takes its settings struct as the user wrote it."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from streamseg.errors import SettingsError
from streamseg.geometry import Box
from streamseg.paths import is_unicode
from streamseg.settings import Count, Fraction, Settings, Threads

SPOT: Final = "spot"
"""The detector whose weights are part of the package."""
DOWNLOADED_YOLOX = ("yolox-nano", "yolox-tiny", "yolox-s", "yolox-m", "yolox-l", "yolox-x")
"""Detectors with weights in the catalogue."""
YOLOX_MODELS = (SPOT, *DOWNLOADED_YOLOX)
"""Detectors that find COCO's 80 classes with their own weights, and take any YOLOX export as `detector.weights`."""
MOBILE_SAM: Final = "mobilesam"
"""Runs in OpenVINO, ONNX Runtime or PyTorch."""
SAM_MODELS = (MOBILE_SAM, "sam-vit-b", "sam-vit-l", "sam-vit-h")
"""Segmenters with weights in the catalogue. All but MobileSAM run in PyTorch only."""
PYTORCH: Final = "torch"
"""The package that runs these segmenters, or exports MobileSAM."""
NANO: Final = "nano"
"""The segmenter whose weights are part of the package."""

Backend = Literal["torch", "onnxruntime", "openvino"]
Precision = Literal["fp32", "bf16", "fp16"]
BackendChoice = Literal["auto", Backend]
PrecisionChoice = Literal["auto", Precision]
InputSide = Literal[512, 768, 1024]
INPUT_SIDES: Final[tuple[InputSide, ...]] = (512, 768, 1024)
"""Sides of MobileSAM's square input in pixels; it was trained with the last one."""
DEFAULT_PROVIDERS: Final = ("CPUExecutionProvider",)


class Compute(Settings, frozen=True, kw_only=True):
    """Where a model computes.

    Attributes:
        device: PyTorch's name of the device, such as `cpu` or `cuda:0`; `auto` takes a GPU if there is one. Used by
            PyTorch's segmenters and by plug-ins.
        threads: Threads of the model; None leaves the number to its runtime.
    """

    device: str = "auto"
    threads: Threads | None = None


_FARTHEST: Final = 1e6


class FixedBox(Settings, frozen=True, kw_only=True):
    """A box of the `fixed` detector, (left, top, right, bottom) in pixels of the frame, and its class.

    Raises:
        SettingsError: The box has no area, or the name is not Unicode.
    """

    xyxy: Box
    name: str = "object"

    def __post_init__(self) -> None:
        left, top, right, bottom = self.xyxy
        if not (-_FARTHEST <= left < right <= _FARTHEST and -_FARTHEST <= top < bottom <= _FARTHEST):
            raise SettingsError(
                f"detector.boxes: {self.xyxy} is not x1,y1,x2,y2 with x1 < x2 and y1 < y2, "
                f"from {-_FARTHEST:.0f} to {_FARTHEST:.0f}"
            )
        _check_class_name("detector.boxes", self.name)


MAX_DET_OF_A_PICTURE: Final = 300
"""Default of `max_det` for single pictures, Ultralytics' own; a frame of a video gets fewer."""


class DetectorSettings(Settings, frozen=True, kw_only=True):
    """Which detector runs, and what it may report.

    Attributes:
        model: `auto`, `spot`, `yolox-…`, `motion`, `fixed`, a YOLOX export that ends in `.onnx`, or an installed
            plug-in.
        weights: A file used in place of the official weights; a plug-in may take any text.
        sha256: Expected hash of downloaded weights, in place of the catalogue's.
        conf: Minimum confidence of a detection. The pipeline's tracker follows an object down to 0.4 of it.
        iou: Of two boxes of one class with a greater IoU, YOLOX drops the less confident one.
        max_det: Maximum number of detections per frame; the most confident ones stay.
        imgsz: Longer side of YOLOX's input in pixels; the export's own if absent.
        classes: Names or numbers of the classes to keep; all if absent. A plug-in may take any text, such as prompts.
        boxes: For `fixed`.
        merge_duplicates: Whether objects of nearly the same extent are one object of the surer one's class (pipeline).

    Raises:
        SettingsError: The model is `fixed` and there are no boxes, or a class name is not Unicode.
    """

    model: str = "auto"
    weights: str | None = None
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    conf: Fraction = 0.25
    iou: Fraction = 0.45
    max_det: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 100
    imgsz: Annotated[int, msgspec.Meta(ge=64, le=4096, multiple_of=32)] | None = None
    classes: tuple[str | int, ...] | None = None
    boxes: Annotated[tuple[FixedBox, ...], msgspec.Meta(max_length=1024)] = ()
    merge_duplicates: bool = True

    def __post_init__(self) -> None:
        for name in self.classes or ():
            _check_class_name("detector.classes", str(name))
        if self.model == "fixed" and not self.boxes:
            raise SettingsError(
                "detector.boxes: the detector `fixed` needs at least one box, such as [{xyxy: [10, 10, 90, 90]}]"
            )


class SegmenterSettings(Settings, frozen=True, kw_only=True):
    """Which segmenter draws the masks, and what runs it.

    Attributes:
        model: `auto`, `mobilesam`, `sam-vit-…`, `nano`, or an installed plug-in.
        weights: A file used in place of the official weights; for `nano` one that `streamseg train nano` or
            `nano-l` wrote.
        backend: The library that runs MobileSAM; `auto` takes the fastest one installed.
        precision: The precision that MobileSAM's encoder computes in; `auto` takes the backend's fastest.
        imgsz: Side of MobileSAM's input in pixels; below 1024 it is faster, and its masks are coarser.
        providers: ONNX Runtime's execution providers, in its own names, the best first.
        keyframe_interval: Segment every so many frames; masks are propagated to the frames between.
    """

    model: str = "auto"
    weights: str | None = None
    backend: BackendChoice = "auto"
    precision: PrecisionChoice = "auto"
    imgsz: InputSide = 1024
    providers: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = DEFAULT_PROVIDERS
    keyframe_interval: Count = 1


def _check_class_name(key: str, name: str) -> None:
    if not is_unicode(name):
        raise SettingsError(f"{key}: the class name {name!a} is not Unicode; results could not hold it")
