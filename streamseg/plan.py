"""Everything that is decided before a process is spawned: which models, which weights and their exports, which files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from streamseg.config import Config, SegmenterSettings
from streamseg.errors import (
    CheckpointError,
    OutputExistsError,
    SettingsError,
    SourceError,
    UsageError,
    WeightsError,
    WeightsUnavailableError,
)
from streamseg.messages import Models
from streamseg.models.options import MOBILE_SAM, NANO, SAM_MODELS, YOLOX_MODELS
from streamseg.models.registry import check_detector, check_segmenter
from streamseg.models.runtime.base import Choice, candidates
from streamseg.models.segmenters.mobile_sam.export import export_beforehand
from streamseg.models.segmenters.mobile_sam.input_grid import CAMERA
from streamseg.models.weights import WeightsProgress, resolve
from streamseg.wire.curve import read_server_keys

AUTO_DETECTOR = "yolox-nano"
AUTO_SEGMENTER = MOBILE_SAM
FALLBACK_DETECTOR = "motion"
FALLBACK_SEGMENTER = NANO


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A checked run.

    Attributes:
        config: The settings.
        models: What `auto` came to, with a short notice for subscribers where that is not what was hoped for.
        notice: The same for the person at the terminal, a line for each: why, and what to do; it may name files of this machine.
        detector_weights: A file, or what a plug-in was given; None for a detector without weights.
        segmenter_weights: The same for the segmenter.
    """

    config: Config
    models: Models
    notice: str | None
    detector_weights: Path | None
    segmenter_weights: Path | None


def make_plan(config: Config, *, overwrite: bool, progress: Callable[[WeightsProgress], None] | None = None) -> RunPlan:
    """Check the files, and have the weights and their exports: downloaded and made, where they are missing.

    Where weights cannot be had and the model was left to `auto`, one that needs no download takes its place; where MobileSAM cannot be
    exported, PyTorch runs it.

    Raises:
        OutputExistsError: A file to be written is there, and `overwrite` is not given.
        SettingsError: The detector, one of its classes, the segmenter, what is to run it, or a key file does not exist.
        UsageError: A file cannot be written where it was asked for.
        SourceError: The source is a file that is not there.
        WeightsError: A model that was asked for by name has no weights.
    """
    _check_files(config, overwrite=overwrite)
    check_models(config)
    if config.publish.curve is not None:
        read_server_keys(config.publish.curve.secret_key_file, config.publish.curve.allow_files)
    detector, detector_weights, why = _have_detector(config, progress)
    segmenter, segmenter_weights, why = _have_segmenter(config, progress, why)
    notice = None if why is None else f"{why}; using {detector} + {segmenter}"
    replaced = [AUTO_DETECTOR] if config.detector.model == "auto" and detector == FALLBACK_DETECTOR else []
    replaced += [AUTO_SEGMENTER] if config.segmenter.model == "auto" and segmenter == FALLBACK_SEGMENTER else []
    models = Models(
        detector=detector, segmenter=segmenter, notice=f"no weights for {' and '.join(replaced)}" if replaced else None
    )
    if AUTO_DETECTOR in replaced:
        # It tells moving from still, not one class from another.
        config = msgspec.structs.replace(config, detector=msgspec.structs.replace(config.detector, classes=None))
    if segmenter == MOBILE_SAM and segmenter_weights is not None:
        try:
            export_beforehand(
                segmenter_weights, _runtime(config), _picture_sizes(config), config.segmenter.imgsz, progress
            )
        except CheckpointError:
            raise
        except WeightsError as error:
            notice = "\n".join(filter(None, (notice, f"{error}; running {MOBILE_SAM} with PyTorch")))
            config = msgspec.structs.replace(
                config, segmenter=msgspec.structs.replace(config.segmenter, backend="torch")
            )
    return RunPlan(config, models, notice, detector_weights, segmenter_weights)


def check_models(config: Config) -> None:
    """Check what can be known of the models without loading anything.

    Raises:
        SettingsError: The detector, one of its classes, or the segmenter does not exist; a model takes no weights and was given some;
            or what is to run the segmenter cannot.
    """
    detector, segmenter = config.detector, config.segmenter
    if detector.model != "auto":
        check_detector(detector.model, detector.classes, official=detector.weights is None)
    if segmenter.model != "auto":
        check_segmenter(segmenter.model)
    if segmenter.model in ("auto", MOBILE_SAM):
        candidates(_runtime(config))
    elif segmenter.model in SAM_MODELS:
        _refuse_choices(segmenter, "computes with PyTorch in fp32", backend="torch", precision="fp32")
    elif segmenter.model == NANO:
        _refuse_choices(
            segmenter, "runs in ONNX Runtime on the processor at 96 pixels", backend="onnxruntime", precision="fp32"
        )


def _refuse_choices(settings: SegmenterSettings, why: str, **own: str) -> None:
    """Refuse what can be chosen for MobileSAM alone; `own` is what the model has, by key."""
    for key in ("backend", "precision", "imgsz", "providers"):
        value = getattr(settings, key)
        if value not in (getattr(SegmenterSettings(), key), own.get(key)):
            written = ", ".join(value) if isinstance(value, tuple) else value
            raise SettingsError(
                f"segmenter.{key}: {written} is for {MOBILE_SAM} alone, and {settings.model} {why}; leave the key out"
            )


def _runtime(config: Config) -> Choice:
    settings = config.segmenter
    return Choice(settings.backend, settings.precision, config.device, config.threads, settings.providers)


def _picture_sizes(config: Config) -> list[tuple[int, int]]:
    """Heights and widths that the segmenter makes itself ready for: in any case, and because the settings tell of them."""
    source = config.source
    asked = () if source.width is None or source.height is None else ((source.height, source.width),)
    sizes = [CAMERA, *asked]
    return [CAMERA, *((width, height) for height, width in sizes)] if source.rotate in (90, 270) else sizes


def _have_detector(
    config: Config, progress: Callable[[WeightsProgress], None] | None
) -> tuple[str, Path | None, str | None]:
    settings = config.detector
    given = None if settings.weights is None else Path(settings.weights)
    if settings.model == "auto":
        try:
            return AUTO_DETECTOR, resolve(AUTO_DETECTOR, path=given, sha256=settings.sha256, progress=progress), None
        except WeightsUnavailableError as error:
            return FALLBACK_DETECTOR, None, str(error)
    if settings.model in YOLOX_MODELS:
        return settings.model, resolve(settings.model, path=given, sha256=settings.sha256, progress=progress), None
    return settings.model, given, None


def _have_segmenter(
    config: Config, progress: Callable[[WeightsProgress], None] | None, why: str | None
) -> tuple[str, Path | None, str | None]:
    settings = config.segmenter
    given = None if settings.weights is None else Path(settings.weights)
    if settings.model == "auto":
        try:
            # A network that was found missing a moment ago is not asked again.
            return AUTO_SEGMENTER, resolve(AUTO_SEGMENTER, path=given, offline=why is not None, progress=progress), why
        except WeightsUnavailableError as error:
            return FALLBACK_SEGMENTER, None, why or str(error)
    if settings.model in SAM_MODELS or (settings.model == NANO and given is not None):
        return settings.model, resolve(settings.model, path=given, progress=progress), why
    return settings.model, given, why


def _check_files(config: Config, *, overwrite: bool) -> None:
    source = Path(config.source.address) if config.source.kind == "file" else None
    # Before the weights: nobody wants to wait for a download to be told of a typing error.
    if source is not None and not source.exists():
        raise SourceError(f"{source}: no such file; give the path of a video file")
    outputs = [Path(output) for output in (config.record.video, config.record.jsonl) if output is not None]
    for output in outputs:
        _check_output(output, source, overwrite=overwrite)
    if len({output.resolve() for output in outputs}) < len(outputs):
        raise UsageError(f"{outputs[0]} cannot hold both the video and the records; name two files")


def _check_output(path: Path, source: Path | None, *, overwrite: bool) -> None:
    if source is not None and path.exists() and path.samefile(source):
        raise UsageError(f"{path} is the source itself; record to another file")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}; make it, or name another")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists; name another file, or allow overwriting with -y")
