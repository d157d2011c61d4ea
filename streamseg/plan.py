"""Decides everything before a process starts: models, weights and their exports, output files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from streamseg.config import STANDARD_OUTPUT, Config, RunSource, check_combinations
from streamseg.errors import (
    CheckpointError,
    OutputExistsError,
    SettingsError,
    SourceError,
    UsageError,
    WeightsError,
)
from streamseg.extras import is_installed
from streamseg.messages import Models
from streamseg.models.missing import fallback_lines
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
from streamseg.models.registry import check_detector, check_segmenter, weights_path
from streamseg.models.runtime.selection import candidates, check_device
from streamseg.models.search import WeightsSearch
from streamseg.models.segmenters.mobile_sam.export import export_beforehand
from streamseg.models.segmenters.mobile_sam.input_grid import CAMERA
from streamseg.models.weights import WeightsProgress
from streamseg.paths import unicode_name
from streamseg.sinks.parts import later_parts
from streamseg.sources.checking import check_source
from streamseg.sources.presence import check_present
from streamseg.wire.curve import read_allowed_keys, read_server_keys

AUTO_DETECTOR = SPOT
YOLOX_NANO = "yolox-nano"
AUTO_SEGMENTER = MOBILE_SAM
OWN_YOLOX = "yolox"
"""Stands for a YOLOX export of the user's, in messages."""
FALLBACK_SEGMENTER = NANO

_Report = Callable[[WeightsProgress], None] | None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A checked run.

    Attributes:
        config: The settings, with models and weights in place of `auto`.
        models: The models' names, with a short notice for subscribers if a fallback replaces one.
        notice: Lines for the terminal on each fallback: what is used, the cause, and the remedies. They may name files
            of this machine.
    """

    config: Config
    models: Models
    notice: tuple[str, ...]


def make_plan(config: Config, *, overwrite: bool, progress: _Report = None) -> RunPlan:
    """Check the files, download missing weights and make missing exports.

    If the weights for `auto`, or PyTorch, are not available, a model that needs neither takes the place. If MobileSAM
    cannot be exported, it runs in PyTorch.

    Raises:
        OutputExistsError: An output file exists, and `overwrite` is not set.
        SettingsError: A setting of the models is wrong, the runtime is not available, or a key file does not exist.
        UsageError: An output file cannot be written.
        SourceError: The address of the source is invalid, or there is no such file or camera.
        WeightsError: A model that was chosen by name has no weights.
    """
    _check_run(config, overwrite=overwrite)
    # Before the weights: nobody waits for a download to read of a camera that is not there.
    config = replace(config, sources=_present(config))
    check_combinations(config)
    search = WeightsSearch(progress)
    detector, segmenter = _find_detector(config.detector, search), _find_segmenter(config.segmenter, search)
    search.check()
    notices: list[str] = []
    if search.missing:
        notices += fallback_lines(search.missing, f"{detector.model} + {segmenter.model}")
    if config.segmenter.model == "auto" and not is_installed(PYTORCH):
        notices.append(
            f"using {segmenter.model}: {AUTO_SEGMENTER} needs the package {PYTORCH}, which is not installed; "
            "pip install 'streamseg[run]'"
        )
    if segmenter.model == MOBILE_SAM and segmenter.weights is not None:
        segmenter, failure = _export(config, segmenter, progress)
        notices += [] if failure is None else [failure]
    replaced = " and ".join(file.name for file in search.missing)
    return RunPlan(
        replace(config, detector=detector, segmenter=segmenter),
        Models(
            detector=unicode_name(detector.model),
            segmenter=unicode_name(segmenter.model),
            notice=f"no weights for {replaced}" if replaced else None,
        ),
        tuple(notices),
    )


def check_run(config: Config, *, overwrite: bool) -> None:
    """Check all that `make_plan` checks, without downloading, exporting or loading anything.

    Raises:
        StreamsegError: As for `make_plan`; weights that would be downloaded are not missing.
    """
    _check_run(config, overwrite=overwrite)
    search = WeightsSearch(None)
    for model, path in _own_weights(config):
        search.find(model, path)
    search.check()


def find_models(config: Config) -> tuple[DetectorSettings, SegmenterSettings]:
    """The models that a run would use now, without downloading any.

    Raises:
        WeightsError: A model that was chosen by name has no weights.
    """
    search = WeightsSearch(None, offline=True)
    found = _find_detector(config.detector, search), _find_segmenter(config.segmenter, search)
    search.check()
    return found


def _check_run(config: Config, *, overwrite: bool) -> None:
    # Before the weights: a typo is reported without waiting for a download.
    for source in config.sources:
        check_source(source)
    _check_outputs(config, config.sources, overwrite=overwrite)
    check_models(config)
    if config.publish.curve is not None:
        read_server_keys(config.publish.curve.secret_key_file, config.publish.curve.allow_files)
        read_allowed_keys(config.control.allow_files, "control.allow")
    for source in config.sources:
        if source.curve is not None:
            read_server_keys(source.curve.secret_key_file, source.curve.allow_files, f"{source.key}.curve")


def check_sources(config: Config, added: Sequence[RunSource], *, overwrite: bool) -> None:
    """Check the sources that are added to a running pipeline, without opening them.

    Raises:
        StreamsegError: As for `make_plan`, where it concerns a source.
    """
    for source in added:
        check_source(source)
    check_models(config)
    _check_outputs(config, added, overwrite=overwrite)


def _present(config: Config) -> tuple[RunSource, ...]:
    """The sources, with what a look at them shows; of several, one has to be there unless a failure is to end the run.

    Raises:
        SourceError: As for `check_present`.
    """

    def present(source: RunSource) -> RunSource | SourceError:
        try:
            return check_present(source)
        except SourceError as error:
            return error

    with ThreadPoolExecutor(len(config.sources)) as threads:  # a host that does not answer takes seconds
        found = list(threads.map(present, config.sources))
    absent = [each for each in found if isinstance(each, SourceError)]
    if absent and (len(absent) == len(found) or config.on_source_failure == "end"):
        raise absent[0]
    return tuple(
        source if isinstance(each, SourceError) else each for source, each in zip(config.sources, found, strict=True)
    )


def _own_weights(config: Config) -> Iterator[tuple[str, Path]]:
    """The models whose weights are files of the user's, and these files."""
    detector, segmenter = _without_auto(config.detector), config.segmenter
    segmenters = ("auto", *SAM_MODELS, NANO)
    if detector.model.endswith(".onnx"):
        yield OWN_YOLOX, Path(detector.model)
    elif detector.model in YOLOX_MODELS and detector.weights is not None:
        yield OWN_YOLOX if detector.model == SPOT else detector.model, Path(detector.weights)
    if segmenter.model in segmenters and segmenter.weights is not None:
        yield AUTO_SEGMENTER if segmenter.model == "auto" else segmenter.model, Path(segmenter.weights)


def check_models(config: Config) -> None:
    """Check the models' settings without loading anything.

    Raises:
        SettingsError: The detector, one of its classes, or the segmenter does not exist; or nothing on this machine
            runs the segmenter as configured.
        UsageError: This machine has no such GPU.
    """
    segmenter = config.segmenter
    check_device(config.device)
    check_detector(_without_auto(config.detector))
    for source in config.sources:
        try:
            check_detector(_without_auto(config.of(source.name).detector))
        except SettingsError as error:
            raise SettingsError(f"{source.key}.{error}") from error
    if segmenter.model != "auto":
        check_segmenter(segmenter)
    if segmenter.model in ("auto", MOBILE_SAM):
        candidates(segmenter, _compute(config))
    elif segmenter.model in SAM_MODELS:
        own = SegmenterSettings(backend="torch", precision="fp32")
        _refuse_choices(segmenter, own, "runs in PyTorch in fp32")
    elif segmenter.model == NANO:
        own = SegmenterSettings(backend="onnxruntime", precision="fp32")
        _refuse_choices(segmenter, own, "runs in ONNX Runtime on the CPU at 96 pixels")


def _refuse_choices(settings: SegmenterSettings, own: SegmenterSettings, why: str) -> None:
    """Refuse choices that only MobileSAM offers, unless they are the defaults or the model's own."""
    for key in ("backend", "precision", "imgsz", "providers"):
        value = getattr(settings, key)
        if value not in (getattr(SegmenterSettings(), key), getattr(own, key)):
            written = ", ".join(value) if isinstance(value, tuple) else value
            raise SettingsError(
                f"segmenter.{key}: {written} is for {MOBILE_SAM} alone, and {settings.model} {why}; leave the key out"
            )


def _compute(config: Config) -> Compute:
    return Compute(device=config.device, threads=config.threads)


def _export(config: Config, segmenter: SegmenterSettings, progress: _Report) -> tuple[SegmenterSettings, str | None]:
    """Export MobileSAM for the expected pictures; if that fails, choose PyTorch and return a notice."""
    assert segmenter.weights is not None
    try:
        export_beforehand(Path(segmenter.weights), segmenter, _compute(config), _picture_sizes(config), progress)
    except CheckpointError:
        raise
    except WeightsError as error:
        return replace(segmenter, backend="torch"), f"{error}; running {MOBILE_SAM} with PyTorch"
    return segmenter, None


def _picture_sizes(config: Config) -> list[tuple[int, int]]:
    """Heights and widths to export for: the segmenter always prepares the first; the settings may name another."""
    sizes = [CAMERA]
    for source in config.sources:
        own = [CAMERA]
        if source.width is not None and source.height is not None:
            own.append((source.height, source.width))
        sizes += [(width, height) for height, width in own] if source.rotate in (90, 270) else own
    return list(dict.fromkeys(sizes))


def _find_detector(settings: DetectorSettings, search: WeightsSearch) -> DetectorSettings:
    """Replace `auto`, and find weights or download them."""
    settings = _without_auto(settings)
    if settings.model in DOWNLOADED_YOLOX:
        path = search.find(settings.model, weights_path(settings), sha256=settings.sha256)
        return replace(settings, weights=str(path))
    if settings.model == SPOT and settings.weights is not None:
        search.find(OWN_YOLOX, weights_path(settings))
    if settings.model.endswith(".onnx"):
        search.find(OWN_YOLOX, Path(settings.model))
    return settings


def _without_auto(settings: DetectorSettings) -> DetectorSettings:
    """The settings with the detector that `auto` stands for: YOLOX-Nano if weights are named, else the packaged one."""
    if settings.model != "auto":
        return settings
    return replace(settings, model=AUTO_DETECTOR if settings.weights is None else YOLOX_NANO)


def _find_segmenter(settings: SegmenterSettings, search: WeightsSearch) -> SegmenterSettings:
    """Replace `auto`, and find weights or download them."""
    if settings.model == "auto":
        usable = is_installed(PYTORCH)
        path = search.find(AUTO_SEGMENTER, weights_path(settings), needed=False) if usable else None
        if path is None:
            return replace(settings, model=FALLBACK_SEGMENTER)
        return replace(settings, model=AUTO_SEGMENTER, weights=str(path))
    if settings.model in SAM_MODELS or (settings.model == NANO and settings.weights is not None):
        return replace(settings, weights=str(search.find(settings.model, weights_path(settings))))
    return settings


def _check_outputs(config: Config, added: Sequence[RunSource], *, overwrite: bool) -> None:
    """Check the files of the sources that are added; those of the others are being written."""
    for record in (config.record, *(source.record for source in config.sources if source.record is not None)):
        if record.jsonl in STANDARD_OUTPUT:
            raise UsageError(
                f"record.jsonl: {record.jsonl} is for `streamseg run` alone; name a file, or loop over the pipeline"
            )
    sources = [Path(source.address) for source in config.sources if source.kind == "file"]
    records = {source.name: config.of(source.name).record for source in config.sources}
    outputs = [Path(path) for each in records.values() for path in (each.video, each.jsonl) if path is not None]
    new = [records[source.name] for source in added]
    for output in (Path(path) for each in new for path in (each.video, each.jsonl) if path is not None):
        try:
            _check_output(output, sources, overwrite=overwrite)
        except OSError as error:
            raise UsageError(f"{output} cannot be written: {error.strerror}; name another file") from error
    for place, output in enumerate(outputs):
        if output.resolve() in [other.resolve() for other in outputs[:place]]:
            raise UsageError(f"{output} cannot hold two recordings; name a file for each")


def _check_output(path: Path, sources: list[Path], *, overwrite: bool) -> None:
    if path.exists() and any(path.samefile(source) for source in sources):
        raise UsageError(f"{path} is the source itself; record to another file")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}; make it, or name another")
    for place in (path.parent, path) if path.exists() else (path.parent,):
        if not os.access(place, os.W_OK):
            raise UsageError(f"{path} cannot be written: no permission for {place}; name another file")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists; name another file, or allow overwriting with -y")
    for part in () if overwrite else later_parts(path):
        raise OutputExistsError(
            f"{part} is part of an interrupted recording; move it, name another file, or allow overwriting with -y"
        )
