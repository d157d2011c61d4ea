"""Names and options of the models. Importing this loads no model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamseg.errors import SettingsError
from streamseg.geometry import Box

YOLOX_MODELS = ("yolox-nano", "yolox-tiny", "yolox-s", "yolox-m", "yolox-l", "yolox-x")
MOBILE_SAM: Final = "mobilesam"
"""Runs in OpenVINO, ONNX Runtime or PyTorch."""
SAM_MODELS = (MOBILE_SAM, "sam-vit-b", "sam-vit-l", "sam-vit-h")
"""Segmenters with weights in the catalogue. All but MobileSAM run in PyTorch only."""
NANO: Final = "nano"
"""The segmenter whose weights are part of the package."""

BACKENDS: Final = ("torch", "onnxruntime", "openvino")
PRECISIONS: Final = ("fp32", "bf16", "fp16")
DEFAULT_PROVIDERS: Final = ("CPUExecutionProvider",)
INPUT_SIDES: Final = (512, 768, 1024)
"""Sides of MobileSAM's square input in pixels; it was trained with the last one."""


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


@dataclass(frozen=True, slots=True)
class SegmenterOptions:
    """Which model draws the masks, and where.

    Attributes:
        model: `mobilesam`, `sam-vit-b`, `sam-vit-l`, `sam-vit-h`, `nano`, or the name of an entry point of the group
            `streamseg.segmenters`.
        weights: A file of the user's own; None takes the official one: from the cache, by a download, or, for `nano`,
            from the package.
        device: PyTorch's name of the device, such as `cpu` or `cuda:0`; `auto` takes a GPU where there is one.
        threads: How many threads the model uses; None leaves that to its runtime.
        backend: What runs MobileSAM, of `BACKENDS`; `auto` takes the fastest that is here.
        precision: What it computes in, of `PRECISIONS`; `auto` takes the fastest of the backend.
        providers: ONNX Runtime's execution providers, in its own names, the best first.
        imgsz: Side of MobileSAM's input in pixels, of `INPUT_SIDES`. Below 1024 it is faster, and its masks are coarser.

    Raises:
        SettingsError: A number lies outside its range, or a name is unknown.
    """

    model: str
    weights: Path | None = None
    device: str = "auto"
    threads: int | None = None
    backend: str = "auto"
    precision: str = "auto"
    providers: tuple[str, ...] = DEFAULT_PROVIDERS
    imgsz: int = INPUT_SIDES[-1]

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise SettingsError(f"threads: {self.threads} is not positive")
        for name, value, known in (
            ("backend", self.backend, ("auto", *BACKENDS)),
            ("precision", self.precision, ("auto", *PRECISIONS)),
            ("imgsz", self.imgsz, INPUT_SIDES),
        ):
            if value not in known:
                raise SettingsError(
                    f"segmenter.{name}: {value!r} is not a choice; expected one of {', '.join(map(str, known))}"
                )
