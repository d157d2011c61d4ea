"""Work that is measured in a process of its own, so that threads, instruction sets and memory are its alone."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from streamseg.errors import StageError
from streamseg.models.options import BackendChoice, PrecisionChoice

AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "DNNL_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
"""Environment that holds PyTorch and OpenVINO to AVX2; ONNX Runtime has nothing of the kind."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is to do.

    Attributes:
        subject: Whom to measure.
        weights: Path of a checkpoint in the official format, whose name ends with `mobile_sam.pt`.
        picture: Path of the frame, an array of shape (height, width, 3), uint8, BGR.
        boxes: Path of the boxes, an array of shape (n, 4) in pixels of the frame.
        counts: For how many of them, from the first on, masks are timed.
        frame_boxes: How many are drawn in a whole frame.
        threads: How many threads to use.
        rounds: Times that each thing is done at most.
        budget_s: No further round begins after so many seconds.
        masks: Where to write the masks of all boxes (`.npz` with `masks` and `scores`); None for nowhere.
        backend: Of ours only: as in the settings.
        precision: Likewise.
        square: Likewise: whether all of the square input goes through the encoder.
        own_threads: Of Ultralytics only: whether it keeps the number of threads that it sets itself.
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
    """What a process found; times in milliseconds, one for each round.

    Attributes:
        encoder_ms: A frame to its embedding, resizing included; empty where the subject has no such step.
        decoder_ms: For each number of boxes of `Work.counts`, those boxes to masks of the frame; likewise.
        frame_ms: A whole frame with `Work.frame_boxes` boxes.
        load_ms: Making the model ready, libraries included.
        first_ms: The first frame after that.
        rss_mb: Memory of the process afterwards, in 10^6 bytes; None where the system does not say.
        threads: How many it used in the end.
        backend: Of ours only: what it ran on in the end.
        precision: Likewise.
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


def measure(command: Sequence[str], work: Work, environment: Mapping[str, str], folder: Path) -> Measured:
    """Run a process that reads `Work` from the first file it is given and writes `Measured` to the second, both JSON.

    Args:
        command: What to run; the two paths are added.
        work: What it is to do.
        environment: What its environment has besides this one's.
        folder: Where it runs, and where it may leave files.

    Raises:
        StageError: It failed, or its answer is none.
    """
    with tempfile.TemporaryDirectory(dir=folder) as exchange:
        question, answer = Path(exchange, "work.json"), Path(exchange, "measured.json")
        question.write_bytes(msgspec.json.encode(work))
        threads = str(work.threads)
        # A GPU would be compared with nothing here, and threads are counted from the moment a library is loaded.
        settings = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        done = subprocess.run(
            [*command, str(question), str(answer)],
            cwd=folder,
            env={**os.environ, **settings, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
            raise StageError(f"measuring {work.subject} failed: {said}")
        try:
            return msgspec.json.decode(answer.read_bytes(), type=Measured)
        except (OSError, msgspec.DecodeError) as error:
            raise StageError(f"measuring {work.subject} gave no figures: {error}") from error
