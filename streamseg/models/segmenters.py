"""Segmenters: the mask of the object in each box, by the name of the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamseg.errors import SettingsError
from streamseg.models import Segmenter
from streamseg.models.plugins import PluginSegmenter
from streamseg.models.segmenter_names import GRABCUT, SAM_MODELS, check_segmenter, segmenter_plugin


@dataclass(frozen=True, slots=True)
class SegmenterOptions:
    """Which model draws the masks, and where.

    Attributes:
        model: `mobilesam`, `sam-vit-b`, `sam-vit-l`, `sam-vit-h`, `grabcut`, or the name of an entry point of the group
            `streamseg.segmenters`.
        weights: A checkpoint of the user's own; None takes the official one from the cache, or downloads it.
        device: PyTorch's name of the device, such as `cpu` or `cuda:0`; `auto` takes a GPU where there is one.
        threads: How many threads the model uses; None leaves that to PyTorch.

    Raises:
        SettingsError: A number lies outside its range.
    """

    model: str
    weights: Path | None = None
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise SettingsError(f"threads: {self.threads} is not positive")


def create_segmenter(options: SegmenterOptions) -> Segmenter[Any]:
    """Make the segmenter that `options.model` names.

    Raises:
        SettingsError: The model is unknown, or takes no weights and was given some.
        WeightsError: The weights are missing, cannot be fetched, or are not those of the model.
        UsageError: PyTorch cannot use the device.
        StageError: A plug-in failed.
    """
    check_segmenter(options.model, own_weights=options.weights is not None)
    if options.model in SAM_MODELS:
        return _create_sam(options)
    if options.model == GRABCUT:
        from streamseg.models.grabcut import GrabCut

        return GrabCut()
    return PluginSegmenter(segmenter_plugin(options.model), options)


def _create_sam(options: SegmenterOptions) -> Segmenter[Any]:
    from streamseg.models import weights
    from streamseg.models.sam import Sam

    path = weights.resolve(options.model, path=options.weights)
    return Sam.load(path, architecture=options.model, device=options.device, threads=options.threads)
