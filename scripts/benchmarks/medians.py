"""The figures of what was measured: medians over the passes, ratios of them, and how alike the masks are."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.model_figures import (
    Agreement,
    Avx2Figures,
    Coverage,
    DecoderMs,
    DecoderRows,
    EncoderMs,
    FrameMs,
    IoU,
    OwnThreads,
    RoundFigures,
    SegmenterFigures,
    Slowdowns,
    ratio,
    speedups,
)
from benchmarks.process import Measured

ORIGINAL, ULTRALYTICS, OURS, OURS_SQUARE = "original", "ultralytics", "ours", "ours-square"
ULTRALYTICS_OWN_THREADS = "ultralytics-own-threads"
HELD = "avx2-"
"""The names of the four when they are held to AVX2 begin so."""
COUNTS = (1, 5, 20)


@dataclass(frozen=True, slots=True)
class Measurements:
    """All passes of all runs.

    Attributes:
        passes: By the run's name.
        folder: Holds the masks of each run, `NAME.npz`.
    """

    passes: Mapping[str, list[Measured]]
    folder: Path

    def rounds(self) -> RoundFigures:
        """How often a frame was done."""
        original, ultralytics, ours = (len(self._all(name, _frame_ms)) for name in (ORIGINAL, ULTRALYTICS, OURS))
        return RoundFigures(original=original, ultralytics=ultralytics, ours=ours)

    def rows(self, prefix: str = "") -> tuple[EncoderMs, DecoderRows, FrameMs]:
        """The medians of the runs whose names begin so."""
        original, square, ours = (
            median(self._all(prefix + name, _encoder_ms)) for name in (ORIGINAL, OURS_SQUARE, OURS)
        )
        one, five, twenty = (self._decoder(prefix, count) for count in COUNTS)
        frame, rival_frame, our_frame = (
            median(self._all(prefix + name, _frame_ms)) for name in (ORIGINAL, ULTRALYTICS, OURS)
        )
        return (
            EncoderMs(original=original, ours=square, ours_rect=ours),
            DecoderRows(one=one, five=five, twenty=twenty),
            FrameMs(original=frame, ultralytics=rival_frame, ours=our_frame),
        )

    def ultralytics_own_threads(self) -> OwnThreads | None:
        """Ultralytics with as many threads as it sets itself."""
        passes = self.passes.get(ULTRALYTICS_OWN_THREADS)
        if not passes:
            return None
        theirs, ours = (statistics.median(self._all(name, _frame_ms)) for name in (ULTRALYTICS_OWN_THREADS, OURS))
        return OwnThreads(threads=passes[0].threads, frame_ms=theirs, speedup=theirs / ours)

    def avx2(self, note: str) -> Avx2Figures:
        """The runs that were held to AVX2."""
        encoder, decoder, frame = self.rows(HELD)
        free_encoder, free_decoder, free_frame = self.rows()
        ours = self.passes[HELD + OURS][0]
        return Avx2Figures(
            backend=ours.backend,
            precision=ours.precision,
            note=note,
            encoder_ms=encoder,
            decoder_ms=decoder,
            frame_ms=frame,
            iou=self._agreement(HELD + ORIGINAL, HELD + OURS),
            speedup=speedups(encoder, decoder, frame),
            slowdown=Slowdowns(
                encoder=ratio(encoder.ours, free_encoder.ours),
                encoder_rect=ratio(encoder.ours_rect, free_encoder.ours_rect),
                decoder_20=ratio(decoder.twenty.ours, free_decoder.twenty.ours),
                frame=ratio(frame.ours, free_frame.ours),
            ),
        )

    def iou(self) -> IoU:
        """How alike the masks are."""
        return IoU(
            original=self._agreement(ORIGINAL, OURS),
            ultralytics=self._agreement(ULTRALYTICS, OURS),
            original_ultralytics=self._agreement(ORIGINAL, ULTRALYTICS),
            square=self._agreement(ORIGINAL, OURS_SQUARE),
        )

    def coverage(self) -> Coverage:
        """How much of the picture our masks cover."""
        with np.load(self._masks(OURS)) as drawn:
            covered = drawn["masks"].mean(axis=(1, 2))
        return Coverage(min=float(covered.min()), max=float(covered.max()))

    def segmenter(self, exporting: Measured) -> SegmenterFigures:
        """What ours needs besides its work; `exporting` is the run in which its networks were exported."""
        ours, original = self.passes[OURS], self.passes.get(ORIGINAL)
        load_ms = statistics.median(one.load_ms for one in ours)
        return SegmenterFigures(
            load_ms=load_ms,
            first_result_ms=statistics.median(one.first_ms for one in ours),
            rss_mb=ours[0].rss_mb,
            original_rss_mb=original[0].rss_mb if original else None,
            export_s=(exporting.load_ms - load_ms) / 1000,
        )

    def _decoder(self, prefix: str, count: int) -> DecoderMs:
        original, ours = (
            median(self._all(prefix + name, lambda one: one.decoder_ms[str(count)])) for name in (ORIGINAL, OURS)
        )
        return DecoderMs(original=original, ours=ours)

    def _all(self, name: str, read: Callable[[Measured], list[float]]) -> list[float]:
        return [time for one in self.passes.get(name, []) for time in read(one)]

    def _masks(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def _agreement(self, first: str, second: str) -> Agreement | None:
        """How alike the masks of two runs are; None where one was not measured."""
        if not self._masks(first).is_file() or not self._masks(second).is_file():
            return None
        with np.load(self._masks(first)) as one, np.load(self._masks(second)) as other:
            common = (one["masks"] & other["masks"]).sum(axis=(1, 2))
            either = (one["masks"] | other["masks"]).sum(axis=(1, 2))
            scores = float(np.abs(one["scores"] - other["scores"]).max())
        # Where neither has a mask, they agree.
        iou = np.where(either == 0, 1.0, common / np.maximum(either, 1))
        return Agreement(mean=float(iou.mean()), min=float(iou.min()), predicted_iou=scores)


def _encoder_ms(measured: Measured) -> list[float]:
    return measured.encoder_ms


def _frame_ms(measured: Measured) -> list[float]:
    return measured.frame_ms


def median(times: list[float]) -> float | None:
    """The median; None of nothing."""
    return statistics.median(times) if times else None
