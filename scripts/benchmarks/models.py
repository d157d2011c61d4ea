"""Speed and masks of MobileSAM here, beside the original, Ultralytics' and other models.

One run measures all with the same weights, picture, boxes and threads.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from benchmarks.detector import bench_detector
from benchmarks.measure import Report
from benchmarks.model_figures import (
    COUNTS,
    LIMITED,
    ORIGINAL,
    OURS,
    OURS_SQUARE,
    ULTRALYTICS,
    ULTRALYTICS_OWN_THREADS,
    ComparedFigures,
    ModelsFigures,
    ParameterFigures,
    Passes,
    median,
    speedups,
)
from benchmarks.model_process import AVX2, Measured, Work, run_work
from benchmarks.rivals import PACKAGES, RivalError, rival_environment, rival_python
from benchmarks.seeded_weights import Scene, draw_scene, write_seeded_checkpoint
from streamseg.bench.machine import memory_gb, this_machine
from streamseg.errors import SourceError, StageError, UsageError, WeightsError
from streamseg.images import read_image
from streamseg.models.options import MOBILE_SAM, BackendChoice, PrecisionChoice
from streamseg.sam.info import parameter_table

_FRAME_BOXES = 5
_PASSES = 2
"""Every run has two passes, in turn with the others, so that a disturbance of the machine affects all alike."""
_BUDGET_S = 15.0
"""No round of a pass starts later; slow programs do fewer rounds."""
_COMPARED_ROUNDS = 2
_NOTE = "ONNX Runtime, which `auto` prefers to this backend without bfloat16, cannot be limited to AVX2"
_RIVAL_PROCESS = Path(__file__).with_name("rival_process.py")
_COMPUTING = ("streamseg", "torch", "torchvision", "timm", "numpy", "onnxruntime", "openvino")

COMPARED: Final[Mapping[str, float]] = MappingProxyType(
    {"fastsam-s": 2, "fastsam-x": 3, "sam-vit-b": 3, "sam-vit-l": 5, "sam-vit-h": 9}
)
"""Other models, and the memory that each needs in 10^9 bytes."""
DEFAULT_COMPARED: Final = ("fastsam-s", "sam-vit-b", "sam-vit-h")
_OF_RIVALS = (ORIGINAL, ULTRALYTICS, "fastsam-s", "fastsam-x")
"""Subjects measured in the rivals' environment."""


@dataclass(frozen=True, slots=True)
class ModelsOptions:
    """What is measured, and how often.

    Attributes:
        compared: Models besides MobileSAM, of `COMPARED`.
        rounds: Rounds of each pass, at most.
        threads: Threads of each program; None for one on each core.
        weights: A checkpoint of MobileSAM; None makes seeded weights.
        image: A picture; None draws one.
        detector_weights: YOLOX-Nano's; None takes the official file from the cache, or downloads it.

    Raises:
        UsageError: A model is unknown, or a number is not positive.
    """

    compared: tuple[str, ...] = DEFAULT_COMPARED
    rounds: int = 10
    threads: int | None = None
    weights: Path | None = None
    image: Path | None = None
    detector_weights: Path | None = None

    def __post_init__(self) -> None:
        for name in self.compared:
            if name not in COMPARED:
                raise UsageError(f"unknown model {name!r}; expected some of {', '.join(COMPARED)}")
        if self.rounds < 1 or (self.threads is not None and self.threads < 1):
            raise UsageError("rounds and threads must be positive")

    @property
    def thread_count(self) -> int:
        """Threads of each program."""
        return self.threads or os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class _Run:
    """One program under one instruction set; attributes as in `Work`."""

    name: str
    subject: str
    backend: BackendChoice = "auto"
    precision: PrecisionChoice = "auto"
    square: bool = False
    avx2: bool = False
    counts: tuple[int, ...] = COUNTS
    passes: int = _PASSES
    own_threads: bool = False


@dataclass(frozen=True, slots=True)
class _Bench:
    """What all runs share; `python` is that of the rivals' environment, None without one."""

    folder: Path
    options: ModelsOptions
    python: Path | None

    def measure(self, run: _Run, rounds: int, *, masks: bool) -> Measured:
        """Do one pass of a run."""
        work = Work(
            subject=run.subject,
            weights=str(self.folder / "mobile_sam.pt"),
            picture=str(self.folder / "picture.npy"),
            boxes=str(self.folder / "boxes.npy"),
            counts=run.counts,
            frame_boxes=_FRAME_BOXES,
            threads=self.options.thread_count,
            rounds=rounds,
            budget_s=_BUDGET_S,
            masks=str(self.folder / f"{run.name}.npz") if masks else None,
            backend=run.backend,
            precision=run.precision,
            square=run.square,
            own_threads=run.own_threads,
        )
        command = [sys.executable, "-m", "benchmarks.model_process"]
        if run.subject in _OF_RIVALS:
            command = [str(self.python), str(_RIVAL_PROCESS)]
        # The networks exported for seeded weights vanish with the folder.
        environment = {"STREAMSEG_CACHE": str(self.folder), **rival_environment(self.folder)}
        return run_work(command, work, environment | (AVX2 if run.avx2 else {}), self.folder)


def bench_models(options: ModelsOptions, report: Report) -> ModelsFigures:
    """Measure everything, one program after the other.

    Raises:
        StageError: Ours or the original failed.
        UsageError: The picture cannot be read.
        WeightsError: The weights cannot be read, or are not those of MobileSAM.
    """
    scene = draw_scene(None if options.image is None else _read(options.image))
    missing: list[str] = []
    python = None
    try:
        python = rival_python(report)
    except RivalError as error:
        missing.append(f"the original, Ultralytics and FastSAM: {error}")
    with tempfile.TemporaryDirectory(prefix="streamseg-bench-") as folder:
        bench = _Bench(Path(folder), options, python)
        _write_inputs(bench, scene, report)
        runs = _runs(with_rivals=python is not None)
        report("exporting MobileSAM's networks")
        exporting, _ = (bench.measure(run, 0, masks=False) for run in runs if run.name in (OURS, OURS_SQUARE))
        passes = Passes(_all_passes(bench, runs, report), bench.folder)
        compared = tuple(_compare(bench, name, report) for name in options.compared)
        report("measuring the detector")
        detector = None
        try:
            detector = bench_detector(options.detector_weights)
        except (WeightsError, StageError) as error:
            missing.append(f"the detector: {error}")
        encoder, decoder, frame = passes.medians()
        height, width = scene.image.shape[:2]
        ours = passes.by_name[OURS][0]
        return ModelsFigures(
            date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            machine=this_machine(),
            threads=options.thread_count,
            picture=f"{width}x{height}",
            weights="seeded" if options.weights is None else options.weights.name,
            versions=_versions() | (dict(PACKAGES) if python is not None else {}),
            rounds=passes.rounds(),
            backend=ours.backend,
            precision=ours.precision,
            encoder_ms=encoder,
            decoder_ms=decoder,
            frame_ms=frame,
            speedup=speedups(encoder, decoder, frame),
            ultralytics_own_threads=passes.ultralytics_own_threads(),
            iou=passes.iou(),
            coverage=passes.coverage(),
            avx2=passes.avx2(_NOTE),
            segmenter=passes.segmenter(exporting),
            detector=detector,
            compared=compared,
            parameters=_parameters(),
            missing=tuple(missing),
        )


def _read(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    try:
        return read_image(path)
    except SourceError as error:
        raise UsageError(f"{path} cannot be read as a picture; give a JPEG or PNG file") from error


def _write_inputs(bench: _Bench, scene: Scene, report: Report) -> None:
    """Write what all programs read. Ultralytics recognises the network by the name of its file."""
    np.save(bench.folder / "picture.npy", scene.image)
    np.save(bench.folder / "boxes.npy", scene.boxes)
    weights, given = bench.folder / "mobile_sam.pt", bench.options.weights
    if given is None:
        report("making seeded weights")
        write_seeded_checkpoint(weights, scene)
        return
    try:
        shutil.copyfile(given, weights)
    except OSError as error:
        reason = error.strerror or error
        raise WeightsError(f"{given} cannot be read: {reason}; give a checkpoint of MobileSAM") from error


def _runs(*, with_rivals: bool) -> list[_Run]:
    limited: BackendChoice = "openvino" if "openvino" in _versions() else "torch"
    ours = [
        _Run(OURS, MOBILE_SAM),
        _Run(OURS_SQUARE, MOBILE_SAM, square=True, counts=()),
        _Run(LIMITED + OURS, MOBILE_SAM, limited, "fp32", avx2=True),
        _Run(LIMITED + OURS_SQUARE, MOBILE_SAM, limited, "fp32", square=True, avx2=True, counts=()),
    ]
    if not with_rivals:
        return ours
    return [
        _Run(ORIGINAL, ORIGINAL),
        _Run(ULTRALYTICS, ULTRALYTICS),
        _Run(ULTRALYTICS_OWN_THREADS, ULTRALYTICS, own_threads=True, passes=1),
        *ours,
        _Run(LIMITED + ORIGINAL, ORIGINAL, avx2=True, passes=1),
        _Run(LIMITED + ULTRALYTICS, ULTRALYTICS, avx2=True, passes=1),
    ]


def _all_passes(bench: _Bench, runs: list[_Run], report: Report) -> dict[str, list[Measured]]:
    """Do the passes of all runs in turn, every second time in reverse order."""
    found: dict[str, list[Measured]] = {run.name: [] for run in runs}
    for number in range(_PASSES):
        turn = [run for run in runs if number < run.passes]
        for place, run in enumerate(turn if number % 2 == 0 else reversed(turn), 1):
            report(f"measuring {run.name} (pass {number + 1} of {_PASSES}, {place} of {len(turn)})")
            found[run.name].append(bench.measure(run, bench.options.rounds, masks=number == 0))
    return found


def _compare(bench: _Bench, name: str, report: Report) -> ComparedFigures:
    report(f"measuring {name}")
    needed, free = COMPARED[name], memory_gb("MemAvailable")
    if name in _OF_RIVALS and bench.python is None:
        return ComparedFigures(model=name, skipped="Ultralytics could not be installed")
    if free is not None and free < needed:
        return ComparedFigures(model=name, skipped=f"needs {needed:g} GB of memory, and {free:.1f} GB are free")
    run = _Run(name, name, counts=(1, _FRAME_BOXES))
    try:
        measured = bench.measure(run, min(_COMPARED_ROUNDS, bench.options.rounds), masks=False)
    except StageError as error:
        return ComparedFigures(model=name, skipped=str(error))
    return ComparedFigures(
        model=name,
        encoder_ms=median(measured.encoder_ms),
        decoder_1_ms=median(measured.decoder_ms.get("1", [])),
        decoder_5_ms=median(measured.decoder_ms.get("5", [])),
        frame_ms=median(measured.frame_ms),
        rounds=len(measured.frame_ms),
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in _COMPUTING:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _parameters() -> tuple[ParameterFigures, ...]:
    return tuple(
        ParameterFigures(
            model=info.architecture,
            image_encoder=info.encoder,
            prompt_encoder=info.prompt_encoder,
            mask_decoder=info.decoder,
            total=info.total,
            published=info.published,
        )
        for info in parameter_table()
    )
