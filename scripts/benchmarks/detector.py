"""Cost of the detector: YOLOX-Nano on frames of 1280x720 with one thread, in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import msgspec

from streamseg.bench.machine import family_rss_mb
from streamseg.errors import StageError
from streamseg.messages import Image
from streamseg.models.weights import resolve
from streamseg.sources.scene_options import SceneOptions
from streamseg.sources.synthetic import SyntheticScene

if TYPE_CHECKING:
    from streamseg.models.detectors.yolox import YoloxDetector

_MODEL = "yolox-nano"
_CONF = 0.1
"""With it, drawn frames have as many candidates as filmed ones with the usual 0.25: some twenty."""
_FRAMES = 8


class DetectorFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Medians over the frames, start-up and memory.

    Attributes:
        preprocess_ms: From a frame to the network's input.
        network_ms: From the input to the raw outputs.
        postprocess_ms: From the raw outputs to boxes, with overlaps removed.
        frame_ms: All three.
        import_ms: Importing the detector's libraries.
        load_ms: Loading the detector, with one run of the network.
        first_result_ms: The first frame after that.
        libraries_mb: Memory of the libraries, in 10^6 bytes; None without `/proc`.
        rss_mb: Memory of the detector besides; None likewise.
    """

    preprocess_ms: float
    network_ms: float
    postprocess_ms: float
    frame_ms: float
    import_ms: float
    load_ms: float
    first_result_ms: float
    libraries_mb: float | None
    rss_mb: float | None


def bench_detector(weights: Path | None = None, rounds: int = 200) -> DetectorFigures:
    """Measure YOLOX-Nano on a moving scene, in a fresh process with one thread.

    Args:
        weights: A file of weights; None takes the official one from the cache, or downloads it.
        rounds: Frames timed, after the first one.

    Raises:
        WeightsError: The weights are missing, or are not those of a YOLOX model.
        StageError: The process died.
    """
    path = resolve(_MODEL, path=weights)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh_process:
        try:
            return fresh_process.submit(_measure, path, rounds).result()
        except BrokenProcessPool as error:
            raise StageError(
                f"measuring the detector failed: {error}; check that the machine has enough memory"
            ) from error


def _measure(weights: Path, rounds: int) -> DetectorFigures:
    cv2.setNumThreads(1)
    frames = _draw()
    bare_mb, start = family_rss_mb(os.getpid()), time.perf_counter()
    from streamseg.models.detectors.yolox import YoloxDetector
    from streamseg.models.options import Compute, DetectorSettings

    imported_mb, imported = family_rss_mb(os.getpid()), time.perf_counter()
    detector = YoloxDetector(DetectorSettings(model=_MODEL, conf=_CONF), Compute(threads=1), weights)
    ready = time.perf_counter()
    detector.detect(frames[0])
    first = time.perf_counter()
    steps = [_steps_ms(detector, frames[index % _FRAMES]) for index in range(1, rounds + 1)]
    preprocess, network, postprocess = (statistics.median(times) for times in zip(*steps, strict=True))
    return DetectorFigures(
        preprocess_ms=preprocess,
        network_ms=network,
        postprocess_ms=postprocess,
        frame_ms=statistics.median(map(sum, steps)),
        import_ms=1000 * (imported - start),
        load_ms=1000 * (ready - imported),
        first_result_ms=1000 * (first - ready),
        libraries_mb=_difference(imported_mb, bare_mb),
        rss_mb=_difference(family_rss_mb(os.getpid()), imported_mb),
    )


def _draw() -> list[Image]:
    """Draw frames far enough apart that everything moves between them."""
    scene = SyntheticScene(SceneOptions(width=1280, height=720, objects=4))
    return [scene.render(20 * index) for index in range(_FRAMES)]


def _steps_ms(detector: YoloxDetector, image: Image) -> tuple[float, float, float]:
    start = time.perf_counter()
    tensor = detector.preprocess(image)
    prepared = time.perf_counter()
    rows = detector.infer(tensor)
    inferred = time.perf_counter()
    detector.postprocess(rows, image)
    return 1000 * (prepared - start), 1000 * (inferred - prepared), 1000 * (time.perf_counter() - inferred)


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before
