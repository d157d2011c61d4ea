"""Measures one segmenter in a process of its own: `python -m benchmarks.model_process WORK.json MEASURED.json`.

Threads, instruction set and memory then belong to it alone.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.measure import timed
from streamseg.bench.machine import family_rss_mb
from streamseg.errors import StageError
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models import Segmenter
from streamseg.models.options import MOBILE_SAM, BackendChoice, PrecisionChoice

AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "DNNL_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
"""Environment that limits PyTorch and OpenVINO to AVX2; ONNX Runtime has no such setting."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a process measures.

    Attributes:
        subject: Name of the model.
        weights: Path of a checkpoint in the official format, whose name ends with `mobile_sam.pt`.
        picture: Path of the frame, an array of shape (height, width, 3), uint8, BGR.
        boxes: Path of the boxes, an array of shape (n, 4) in pixels of the frame.
        counts: Numbers of boxes, the first ones each time, for which decoding is timed.
        frame_boxes: Number of boxes of a whole frame.
        threads: Number of threads.
        rounds: Rounds at most.
        budget_s: No round starts after so many seconds.
        masks: Where to write the masks of all boxes (`.npz` with `masks` and `scores`); None for nowhere.
        backend: Setting of streamseg's segmenter, as are the next two.
        precision: See `backend`.
        square: Whether the whole square input goes through the encoder.
        own_threads: Whether Ultralytics keeps the number of threads that it sets itself.
    """

    subject: str
    weights: str
    picture: str
    boxes: str
    counts: tuple[int, ...]
    frame_boxes: int
    threads: int
    rounds: int
    budget_s: float
    masks: str | None = None
    backend: BackendChoice = "auto"
    precision: PrecisionChoice = "auto"
    square: bool = False
    own_threads: bool = False


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Times in milliseconds, one a round.

    Attributes:
        encoder_ms: From a frame to its embedding, resizing included; empty for models without this step.
        decoder_ms: For each of `Work.counts`, from that many boxes to masks of the frame; empty likewise.
        frame_ms: A whole frame with `Work.frame_boxes` boxes.
        load_ms: Loading the model, libraries included.
        first_ms: The first frame after that.
        rss_mb: Memory of the process at the end, in 10^6 bytes; None without `/proc`.
        threads: Number of threads at the end.
        backend: Library that ran streamseg's segmenter.
        precision: Number format of its encoder.
    """

    encoder_ms: list[float]
    decoder_ms: dict[str, list[float]]
    frame_ms: list[float]
    load_ms: float
    first_ms: float
    rss_mb: float | None
    threads: int
    backend: str = ""
    precision: str = ""


def run_work(command: Sequence[str], work: Work, environment: Mapping[str, str], folder: Path) -> Measured:
    """Run a process that reads `Work` from its first argument and writes `Measured` to its second, both JSON.

    Args:
        command: Command of the process, without the two arguments.
        work: What it measures.
        environment: Variables added to the environment.
        folder: Working directory, for temporary files.

    Raises:
        StageError: The process failed, or wrote no figures.
    """
    with tempfile.TemporaryDirectory(dir=folder) as exchange:
        work_file, measured_file = Path(exchange, "work.json"), Path(exchange, "measured.json")
        work_file.write_bytes(msgspec.json.encode(work))
        threads = str(work.threads)
        # All models compute on the CPU; libraries read the number of threads when they load.
        settings = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        done = subprocess.run(
            [*command, str(work_file), str(measured_file)],
            cwd=folder,
            env={**os.environ, **settings, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
            raise StageError(f"measuring {work.subject} failed: {reason}")
        try:
            return msgspec.json.decode(measured_file.read_bytes(), type=Measured)
        except (OSError, msgspec.DecodeError) as error:
            raise StageError(f"measuring {work.subject} gave no figures: {error}") from error


def measure(work: Work) -> Measured:
    """Load a segmenter of streamseg, run everything once, then time it."""
    image: Image = np.load(work.picture)
    objects = [
        Detection(xyxy=(left, top, right, bottom), confidence=1.0, class_id=0, class_name="object")
        for left, top, right, bottom in np.load(work.boxes).astype(float).tolist()
    ]
    few = objects[: work.frame_boxes]
    load_ms, segmenter = timed(lambda: _load(work))
    first_ms, _ = timed(lambda: segmenter.decode(segmenter.encode(image), few))
    embedding = segmenter.encode(image)
    if work.masks is not None:
        _save(Path(work.masks), segmenter.decode(embedding, objects), image)
    encoder: list[float] = []
    decoder: dict[str, list[float]] = {str(count): [] for count in work.counts}
    frame: list[float] = []
    for count in work.counts:
        segmenter.decode(embedding, objects[:count])
    start = time.perf_counter()
    while len(frame) < work.rounds and (len(frame) < 2 or time.perf_counter() - start < work.budget_s):
        spent, embedding = timed(lambda: segmenter.encode(image))
        encoder.append(spent)
        for count in work.counts:
            spent, _ = timed(partial(segmenter.decode, embedding, objects[:count]))
            decoder[str(count)].append(spent)
        frame.append(timed(lambda: segmenter.decode(segmenter.encode(image), few))[0])
    return Measured(
        encoder_ms=encoder,
        decoder_ms=decoder,
        frame_ms=frame,
        load_ms=load_ms,
        first_ms=first_ms,
        rss_mb=family_rss_mb(os.getpid()),
        threads=work.threads,
        backend=getattr(segmenter, "backend", "torch"),
        precision=getattr(segmenter, "precision", "fp32"),
    )


def _load(work: Work) -> Segmenter[Any]:
    if work.subject == MOBILE_SAM:
        from streamseg.models.options import Compute, SegmenterSettings
        from streamseg.models.segmenters.mobile_sam.segmenter import MobileSam

        settings = SegmenterSettings(backend=work.backend, precision=work.precision)
        compute = Compute(device="cpu", threads=work.threads)
        return MobileSam(Path(work.weights), settings, compute, square=work.square)
    import torch

    from streamseg.models.segmenters.sam import Sam, SamNetwork

    torch.set_num_threads(work.threads)
    # Random weights take as long as trained ones.
    return Sam(SamNetwork(work.subject).ready())


def _save(path: Path, drawn: list[ObjectMask], image: Image) -> None:
    """Write masks over the whole frame, and their predicted IoU."""
    height, width = image.shape[:2]
    masks = [
        np.zeros((height, width), np.bool_) if one.mask is None else one.mask.paste(height, width) for one in drawn
    ]
    np.savez_compressed(path, masks=np.stack(masks), scores=np.array([one.predicted_iou or 0.0 for one in drawn]))


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr)
    Path(sys.argv[2]).write_bytes(
        msgspec.json.encode(measure(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Work)))
    )
