"""Measures one of our segmenters: python -m benchmarks.own_process WORK.json MEASURED.json."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.process import Measured, Work
from streamseg.bench.machine import family_rss_mb
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models import Segmenter
from streamseg.models.options import MOBILE_SAM


def main() -> None:
    """Do what the command line says."""
    logging.basicConfig(stream=sys.stderr)
    question, answer = map(Path, sys.argv[1:])
    answer.write_bytes(msgspec.json.encode(measure(msgspec.json.decode(question.read_bytes(), type=Work))))


def measure(work: Work) -> Measured:
    """Make the segmenter, run everything once, and then time it."""
    image: Image = np.load(work.picture)
    objects = [
        Detection(xyxy=(left, top, right, bottom), confidence=1.0, class_id=0, class_name="object")
        for left, top, right, bottom in np.load(work.boxes).astype(float).tolist()
    ]
    load_ms, segmenter = _timed(lambda: _make(work))
    first_ms, _ = _timed(lambda: segmenter.decode(segmenter.encode(image), objects[: work.frame_boxes]))
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
        elapsed, embedding = _timed(lambda: segmenter.encode(image))
        encoder.append(elapsed)
        for count in work.counts:
            decoder[str(count)].append(_timed(_decoding(segmenter, embedding, objects[:count]))[0])
        frame.append(_timed(lambda: segmenter.decode(segmenter.encode(image), objects[: work.frame_boxes]))[0])
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


def _make(work: Work) -> Segmenter[Any]:
    if work.subject == MOBILE_SAM:
        from streamseg.models.options import Compute, SegmenterSettings
        from streamseg.models.segmenters.mobile_sam.segmenter import MobileSam

        settings = SegmenterSettings(backend=work.backend, precision=work.precision)
        compute = Compute(device="cpu", threads=work.threads)
        return MobileSam(Path(work.weights), settings, compute, square=work.square)
    import torch

    from streamseg.models.segmenters.sam import Sam, SamNetwork

    torch.set_num_threads(work.threads)
    # Random weights cost what trained ones do.
    return Sam(SamNetwork(work.subject).ready())


def _decoding(
    segmenter: Segmenter[Any], embedding: Any, objects: Sequence[Detection]
) -> Callable[[], list[ObjectMask]]:
    return lambda: segmenter.decode(embedding, objects)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return 1000 * (time.perf_counter() - start), result


def _save(path: Path, drawn: list[ObjectMask], image: Image) -> None:
    """Masks over the whole frame, and their predicted IoU."""
    size = (image.shape[0], image.shape[1])
    masks = np.stack([np.zeros(size, np.bool_) if one.mask is None else one.mask.paste(*size) for one in drawn])
    np.savez_compressed(path, masks=masks, scores=np.array([one.predicted_iou or 0.0 for one in drawn]))


if __name__ == "__main__":
    main()
