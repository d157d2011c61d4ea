"""MobileSAM here beside the original, Ultralytics' and other models: one run, the same weights, picture, boxes and threads."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from benchmarks.detector import DetectorFigures, bench_detector
from benchmarks.medians import (
    COUNTS,
    HELD,
    ORIGINAL,
    OURS,
    OURS_SQUARE,
    ULTRALYTICS,
    ULTRALYTICS_OWN_THREADS,
    Measurements,
    median,
)
from benchmarks.model_figures import ComparedFigures, ModelsFigures, ParameterFigures, speedups
from benchmarks.process import AVX2, Measured, Work, measure
from benchmarks.rivals import PACKAGES, SCRIPT, RivalError, environment, have_rivals
from benchmarks.scene import Scene, draw_scene
from benchmarks.schedule import Schedule
from streamseg.bench.machine import memory_gb, this_machine
from streamseg.errors import SourceError, StageError, UsageError, WeightsError
from streamseg.images import read_image
from streamseg.messages import Image
from streamseg.models.options import MOBILE_SAM, BackendChoice, PrecisionChoice
from streamseg.sam.info import ModelInfo, parameter_table

FRAME_BOXES = 5
_PASSES = 2
"""Everything is measured so many times, in turn, so that a disturbance of the machine meets all alike."""
_AVX2_NOTE = "ONNX Runtime, which `auto` prefers to this backend where there is no bfloat16, cannot be held to AVX2"


@dataclass(frozen=True, slots=True)
class Compared:
    """A model to measure beside MobileSAM.

    Attributes:
        rival: Whether it runs in the rivals' environment.
        memory_gb: What it needs, in 10^9 bytes.
        expected_s: About how long measuring it takes on two cores.
    """

    rival: bool
    memory_gb: float
    expected_s: float


COMPARED: Final = MappingProxyType(
    {
        "fastsam-s": Compared(rival=True, memory_gb=2, expected_s=15),
        "fastsam-x": Compared(rival=True, memory_gb=3, expected_s=40),
        "sam-vit-b": Compared(rival=False, memory_gb=3, expected_s=50),
        "sam-vit-l": Compared(rival=False, memory_gb=5, expected_s=120),
        "sam-vit-h": Compared(rival=False, memory_gb=9, expected_s=220),
    }
)
DEFAULT_COMPARED: Final = ("fastsam-s", "sam-vit-b", "sam-vit-h")
_COMPARED_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class ModelsOptions:
    """What is measured, and how long.

    Attributes:
        compared: Which models besides MobileSAM, of `COMPARED`.
        rounds: Times that each thing is done in each pass, at most; slow ones are done less often, but twice.
        budget_s: No further round of a pass begins after so many seconds.
        threads: How many each program uses; None takes as many as there are cores.
        weights: A checkpoint of MobileSAM; None makes seeded weights.
        image: A picture; None draws one.
        detector_weights: YOLOX-Nano's; None takes the official file from the cache, or downloads it.

    Raises:
        UsageError: There is no model of such a name, or a number is not positive.
    """

    compared: tuple[str, ...] = DEFAULT_COMPARED
    rounds: int = 10
    budget_s: float = 15.0
    threads: int | None = None
    weights: Path | None = None
    image: Path | None = None
    detector_weights: Path | None = None

    def __post_init__(self) -> None:
        for name in self.compared:
            if name not in COMPARED:
                raise UsageError(f"no model is known as {name!r}; expected some of {', '.join(COMPARED)}")
        if self.rounds < 1 or (self.threads is not None and self.threads < 1):
            raise UsageError("rounds and threads must be positive")


@dataclass(frozen=True, slots=True)
class _Run:
    """One program under one instruction set.

    Attributes:
        name: Unique.
        label: For people.
        expected_s: About how long one pass takes on two cores.
        subject: As in `Work`.
        backend: Likewise, as the rest.
    """

    name: str
    label: str
    expected_s: float
    subject: str
    backend: BackendChoice = "auto"
    precision: PrecisionChoice = "auto"
    square: bool = False
    avx2: bool = False
    counts: tuple[int, ...] = COUNTS
    passes: int = _PASSES
    own_threads: bool = False


@dataclass(frozen=True, slots=True)
class _Room:
    """What all runs share.

    Attributes:
        folder: Where files are exchanged.
        options: What the user wants.
        rivals: Python of the rivals' environment; None where there is none.
    """

    folder: Path
    options: ModelsOptions
    rivals: Path | None

    def measure(self, run: _Run, rounds: int | None = None, *, masks: bool = True) -> Measured:
        """Do one pass of a run."""
        options = self.options
        ours = run.subject not in (ORIGINAL, ULTRALYTICS) and not (
            run.subject in COMPARED and COMPARED[run.subject].rival
        )
        work = Work(
            subject=run.subject, weights=str(self.folder / "mobile_sam.pt"), picture=str(self.folder / "picture.npy"),
            boxes=str(self.folder / "boxes.npy"), counts=run.counts, frame_boxes=FRAME_BOXES, threads=_threads(options),
            rounds=options.rounds if rounds is None else rounds, budget_s=options.budget_s,
            masks=str(self.folder / f"{run.name}.npz") if masks else None, backend=run.backend, precision=run.precision, square=run.square,
            own_threads=run.own_threads,
        )  # fmt: skip
        command = [sys.executable, "-m", "benchmarks.own_process"] if ours else [str(self.rivals), str(SCRIPT)]
        held = AVX2 if run.avx2 else {}
        # What is exported for seeded weights is of no use afterwards.
        return measure(
            command, work, {"STREAMSEG_CACHE": str(self.folder), **environment(self.folder), **held}, self.folder
        )


def bench_models(options: ModelsOptions, progress: Callable[[str], None] | None = None) -> ModelsFigures:
    """Measure everything, one program after the other.

    Args:
        options: What, and how long.
        progress: Is told what is done next, and about how long the rest takes.

    Raises:
        StageError: Ours or the original failed.
        UsageError: The picture cannot be read.
        WeightsError: The weights cannot be read, or are not those of MobileSAM.
    """
    tell = progress or (lambda step: None)
    scene = draw_scene(None if options.image is None else _read(options.image))
    missing: list[str] = []
    try:
        rivals = have_rivals(tell)
    except RivalError as error:
        rivals = None
        missing.append(f"the original, Ultralytics and FastSAM: {error}")
        tell(f"left out: {missing[-1]}")
    with tempfile.TemporaryDirectory(prefix="streamseg-bench-") as folder:
        room = _Room(Path(folder), options, rivals)
        _furnish(room, scene, tell)
        runs = _runs(with_rivals=rivals is not None)
        schedule = Schedule(
            [run.expected_s for run in runs for _ in range(run.passes)]
            + [COMPARED[name].expected_s for name in options.compared],
            tell,
        )
        tell("exporting MobileSAM's networks")
        exported = [room.measure(run, 0, masks=False) for run in runs if run.name in (OURS, OURS_SQUARE)]
        measured = Measurements(_all_passes(room, runs, schedule), room.folder)
        compared = tuple(_compared(room, name, schedule) for name in options.compared)
        tell("measuring the detector")
        detector = _detector(options.detector_weights, missing)
        return _figures(room, scene, measured, exported[0], compared, detector, missing)


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of those of the packages that are installed."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _threads(options: ModelsOptions) -> int:
    return options.threads or os.cpu_count() or 1


def _read(path: Path) -> Image:
    try:
        return read_image(path)
    except SourceError as error:
        raise UsageError(f"{path} cannot be read as a picture; give a JPEG or PNG file") from error


def _furnish(room: _Room, scene: Scene, tell: Callable[[str], None]) -> None:
    """Put down what all are given. Ultralytics knows its network by the name of the file."""
    np.save(room.folder / "picture.npy", scene.image)
    np.save(room.folder / "boxes.npy", scene.boxes)
    weights = room.folder / "mobile_sam.pt"
    if room.options.weights is None:
        from benchmarks.seeded_weights import write_seeded_checkpoint

        tell("making seeded weights")
        write_seeded_checkpoint(weights, scene)
        return
    try:
        shutil.copyfile(room.options.weights, weights)
    except OSError as error:
        raise WeightsError(
            f"{room.options.weights} cannot be read: {error.strerror or error}; give a checkpoint of MobileSAM"
        ) from error


def _runs(*, with_rivals: bool) -> list[_Run]:
    held: BackendChoice = "openvino" if "openvino" in versions(("openvino",)) else "torch"
    precision: PrecisionChoice = "fp32"
    ours = [
        _Run(OURS, "ours", 15, MOBILE_SAM),
        _Run(OURS_SQUARE, "ours, square input", 15, MOBILE_SAM, square=True, counts=()),
        _Run(HELD + OURS, "ours, held to AVX2", 20, MOBILE_SAM, held, precision, avx2=True),
        _Run(
            HELD + OURS_SQUARE,
            "ours, square input, held to AVX2",
            20,
            MOBILE_SAM,
            held,
            precision,
            square=True,
            avx2=True,
            counts=(),
        ),
    ]
    if not with_rivals:
        return ours
    return [
        _Run(ORIGINAL, "the original", 35, ORIGINAL),
        _Run(ULTRALYTICS, "Ultralytics' SAM", 30, ULTRALYTICS),
        _Run(
            ULTRALYTICS_OWN_THREADS,
            "Ultralytics' SAM with its own number of threads",
            45,
            ULTRALYTICS,
            own_threads=True,
            passes=1,
        ),
        *ours,
        _Run(HELD + ORIGINAL, "the original, held to AVX2", 35, ORIGINAL, avx2=True, passes=1),
        _Run(HELD + ULTRALYTICS, "Ultralytics' SAM, held to AVX2", 30, ULTRALYTICS, avx2=True, passes=1),
    ]


def _all_passes(room: _Room, runs: list[_Run], schedule: Schedule) -> dict[str, list[Measured]]:
    """Each run's passes, in turn, every second time in the other order."""
    found: dict[str, list[Measured]] = {run.name: [] for run in runs}
    for number in range(_PASSES):
        for run in runs if number % 2 == 0 else reversed(runs):
            if number < run.passes:
                with schedule.step(run.label, run.expected_s):
                    found[run.name].append(room.measure(run, masks=number == 0))
    return found


def _compared(room: _Room, name: str, schedule: Schedule) -> ComparedFigures:
    model, free = COMPARED[name], memory_gb("MemAvailable")
    with schedule.step(name, model.expected_s):
        if model.rival and room.rivals is None:
            return ComparedFigures(model=name, skipped="Ultralytics could not be installed")
        if free is not None and free < model.memory_gb:
            return ComparedFigures(
                model=name, skipped=f"needs {model.memory_gb:g} GB of memory, and {free:.1f} GB are free"
            )
        run = _Run(name, name, model.expected_s, name, counts=(1, FRAME_BOXES))
        try:
            measured = room.measure(run, min(_COMPARED_ROUNDS, room.options.rounds), masks=False)
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


def _detector(weights: Path | None, missing: list[str]) -> DetectorFigures | None:
    try:
        return bench_detector(weights)
    except (WeightsError, StageError) as error:
        missing.append(f"the detector: {error}")
        return None


def _figures(
    room: _Room,
    scene: Scene,
    measured: Measurements,
    exporting: Measured,
    compared: tuple[ComparedFigures, ...],
    detector: DetectorFigures | None,
    missing: list[str],
) -> ModelsFigures:
    encoder, decoder, frame = measured.rows()
    height, width = scene.image.shape[:2]
    installed = versions(("streamseg", "torch", "torchvision", "timm", "numpy", "onnxruntime", "openvino"))
    ours = measured.passes[OURS][0]
    return ModelsFigures(
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        machine=this_machine(),
        threads=_threads(room.options),
        picture=f"{width}x{height}",
        weights="seeded" if room.options.weights is None else room.options.weights.name,
        versions=installed | (dict(PACKAGES) if room.rivals is not None else {}),
        rounds=measured.rounds(),
        backend=ours.backend,
        precision=ours.precision,
        encoder_ms=encoder,
        decoder_ms=decoder,
        frame_ms=frame,
        speedup=speedups(encoder, decoder, frame),
        ultralytics_own_threads=measured.ultralytics_own_threads(),
        iou=measured.iou(),
        coverage=measured.coverage(),
        avx2=measured.avx2(_AVX2_NOTE),
        segmenter=measured.segmenter(exporting),
        detector=detector,
        compared=compared,
        parameters=tuple(map(_parameters, parameter_table())),
        missing=tuple(missing),
    )


def _parameters(info: ModelInfo) -> ParameterFigures:
    return ParameterFigures(
        model=info.architecture,
        image_encoder=info.encoder,
        prompt_encoder=info.prompt_encoder,
        mask_decoder=info.decoder,
        total=info.total,
        published=info.published,
    )
