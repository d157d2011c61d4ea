"""Segmenters: the mask of the object in each box, by the name of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamseg.errors import SettingsError
from streamseg.models import Segmenter
from streamseg.models.mobile_sam.input_grid import INPUT_SIDES
from streamseg.models.plugins import PluginSegmenter
from streamseg.models.resizing import TRAINED_SIDE
from streamseg.models.runtimes import BACKENDS, DEFAULT_PROVIDERS, PRECISIONS, Choice
from streamseg.models.segmenter_names import MOBILE_SAM, NANO, SAM_MODELS, check_segmenter, segmenter_plugin


@dataclass(frozen=True, slots=True)
class SegmenterOptions:
    """Which model draws the masks, and where.

    Attributes:
        model: `mobilesam`, `sam-vit-b`, `sam-vit-l`, `sam-vit-h`, `nano`, or the name of an entry point of the group
            `streamseg.segmenters`.
        weights: A file of the user's own; None takes the official one: from the cache, by a download, or, for `nano`, from the package.
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
    imgsz: int = TRAINED_SIDE

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

    @property
    def runtime(self) -> Choice:
        """What is to run MobileSAM."""
        return Choice(self.backend, self.precision, self.device, self.threads, self.providers)


def create_segmenter(options: SegmenterOptions, exporting: Callable[[int, int], None] | None = None) -> Segmenter[Any]:
    """Make the segmenter that `options.model` names.

    Args:
        options: Which, and where it computes.
        exporting: Is told how many of MobileSAM's networks, of how many, are exported, now and for pictures of a new shape.

    Raises:
        SettingsError: The model is unknown.
        WeightsError: The weights are missing, cannot be fetched, or are not those of the model.
        UsageError: PyTorch cannot use the device.
        BackendError: No runtime runs MobileSAM here.
        StageError: A plug-in failed.
    """
    check_segmenter(options.model)
    if options.model in SAM_MODELS:
        return _create_sam(options, exporting)
    if options.model == NANO:
        from streamseg.models.nano.segmenter import Nano

        return Nano(options.weights, options.threads)
    return PluginSegmenter(segmenter_plugin(options.model), options)


def _create_sam(options: SegmenterOptions, exporting: Callable[[int, int], None] | None) -> Segmenter[Any]:
    from streamseg.models import weights

    path = weights.resolve(options.model, path=options.weights)
    if options.model == MOBILE_SAM:
        from streamseg.models.mobile_sam.segmenter import MobileSam

        return MobileSam(path, options.runtime, options.imgsz, exporting=exporting)
    from streamseg.models.sam import Sam

    return Sam.load(path, architecture=options.model, device=options.device, threads=options.threads)
