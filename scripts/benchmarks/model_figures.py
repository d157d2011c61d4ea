"""Figures of the benchmark `models`: medians over all passes, their ratios, and the agreement of masks.

The names are the keys of its JSON. Times are medians in milliseconds; None where something was not measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.detector import DetectorFigures
from benchmarks.model_process import Measured
from streamseg.bench.machine import Machine
from streamseg.sam.info import PublishedCounts

ORIGINAL, ULTRALYTICS, OURS, OURS_SQUARE = "original", "ultralytics", "ours", "ours-square"
ULTRALYTICS_OWN_THREADS = "ultralytics-own-threads"
LIMITED = "avx2-"
"""Prefix of runs limited to AVX2."""
COUNTS = (1, 5, 20)
"""Numbers of boxes for which decoding is timed."""


class EncoderMs(msgspec.Struct, frozen=True, kw_only=True):
    """From a frame to its embedding, with resizing: the original, ours on square input, ours on the picture alone."""

    original: float | None
    ours: float | None
    ours_rect: float | None


class DecoderMs(msgspec.Struct, frozen=True, kw_only=True):
    """From boxes to masks in pixels of the frame."""

    original: float | None
    ours: float | None


class DecoderRows(msgspec.Struct, frozen=True, kw_only=True):
    """By number of boxes."""

    one: DecoderMs = msgspec.field(name="1")
    five: DecoderMs = msgspec.field(name="5")
    twenty: DecoderMs = msgspec.field(name="20")


class FrameMs(msgspec.Struct, frozen=True, kw_only=True):
    """A whole frame with five boxes."""

    original: float | None
    ultralytics: float | None
    ours: float | None


class RoundFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Number of whole frames behind the medians."""

    original: int
    ultralytics: int
    ours: int


class OwnThreads(msgspec.Struct, frozen=True, kw_only=True):
    """Ultralytics with the number of threads that it sets itself; ours, for `speedup`, with that of all rows."""

    threads: int
    frame_ms: float
    speedup: float


class Speedups(msgspec.Struct, frozen=True, kw_only=True):
    """Time of the original, in the last row of Ultralytics, divided by ours."""

    encoder: float | None
    encoder_rect: float | None
    decoder_1: float | None
    decoder_5: float | None
    decoder_20: float | None
    frame: float | None
    frame_ultralytics: float | None


class Slowdowns(msgspec.Struct, frozen=True, kw_only=True):
    """Our time limited to AVX2, divided by our time without the limit."""

    encoder: float | None
    encoder_rect: float | None
    decoder_20: float | None
    frame: float | None


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Mean and least IoU of two programs' masks of the same boxes, and the largest difference in predicted IoU."""

    mean: float
    min: float
    predicted_iou: float


class IoU(msgspec.Struct, frozen=True, kw_only=True):
    """Agreement over all twenty boxes.

    Attributes:
        original: Ours with the original.
        ultralytics: Ours with Ultralytics.
        original_ultralytics: The two others; Ultralytics resizes by another method and pads with grey.
        square: Ours on square input with the original.
    """

    original: Agreement | None
    ultralytics: Agreement | None
    original_ultralytics: Agreement | None
    square: Agreement | None


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest and the largest share of the picture that one of our masks covers."""

    min: float
    max: float


class Avx2Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The same limited to the AVX2 instruction set, as on most laptops; `note` explains the choice of `backend`."""

    backend: str
    precision: str
    note: str
    encoder_ms: EncoderMs
    decoder_ms: DecoderRows
    frame_ms: FrameMs
    iou: Agreement | None
    speedup: Speedups
    slowdown: Slowdowns


class SegmenterFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Start-up and memory of ours.

    Attributes:
        load_ms: Loading, libraries included, with networks exported before.
        first_result_ms: The first frame with five boxes after that.
        rss_mb: Memory of its process, in 10^6 bytes; None without `/proc`.
        original_rss_mb: The same of the original.
        export_s: Exporting the networks, once.
    """

    load_ms: float
    first_result_ms: float
    rss_mb: float | None
    original_rss_mb: float | None
    export_s: float


class ComparedFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Another model with random weights; `skipped` is the reason where it was not measured."""

    model: str
    encoder_ms: float | None = None
    decoder_1_ms: float | None = None
    decoder_5_ms: float | None = None
    frame_ms: float | None = None
    rounds: int = 0
    skipped: str | None = None


class ParameterFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of parameters of a model's parts, and the published ones."""

    model: str
    image_encoder: int
    prompt_encoder: int
    mask_decoder: int
    total: int
    published: PublishedCounts | None


class ModelsFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All of one run.

    Attributes:
        date: Day of the run.
        threads: Threads of each program.
        picture: Width and height of the frame.
        weights: `seeded`, or the name of the file.
        versions: Of the packages that compute.
        backend: Library that ran ours.
        precision: Number format of its encoder.
        missing: Why figures are missing.
    """

    date: str
    machine: Machine
    threads: int
    picture: str
    weights: str
    versions: dict[str, str]
    rounds: RoundFigures
    backend: str
    precision: str
    encoder_ms: EncoderMs
    decoder_ms: DecoderRows
    frame_ms: FrameMs
    speedup: Speedups
    ultralytics_own_threads: OwnThreads | None
    iou: IoU
    coverage: Coverage
    avx2: Avx2Figures
    segmenter: SegmenterFigures
    detector: DetectorFigures | None
    compared: tuple[ComparedFigures, ...]
    parameters: tuple[ParameterFigures, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passes:
    """All passes by the name of the run; `folder` holds the masks of each run as `NAME.npz`."""

    by_name: Mapping[str, list[Measured]]
    folder: Path

    def rounds(self) -> RoundFigures:
        """Count the frames behind the medians."""
        return RoundFigures(**{name: len(self._frames_ms(name)) for name in RoundFigures.__struct_fields__})

    def medians(self, prefix: str = "") -> tuple[EncoderMs, DecoderRows, FrameMs]:
        """Compute the medians of the runs with this prefix."""
        return (
            EncoderMs(
                original=self._encoder_ms(prefix + ORIGINAL),
                ours=self._encoder_ms(prefix + OURS_SQUARE),
                ours_rect=self._encoder_ms(prefix + OURS),
            ),
            DecoderRows(**{field: self._decoder(prefix, count) for field, count in zip(_ROWS, COUNTS, strict=True)}),
            FrameMs(**{name: median(self._frames_ms(prefix + name)) for name in FrameMs.__struct_fields__}),
        )

    def ultralytics_own_threads(self) -> OwnThreads | None:
        """Compare with Ultralytics as its users run it."""
        passes = self.by_name.get(ULTRALYTICS_OWN_THREADS)
        if not passes:
            return None
        theirs = statistics.median(self._frames_ms(ULTRALYTICS_OWN_THREADS))
        speedup = theirs / statistics.median(self._frames_ms(OURS))
        return OwnThreads(threads=passes[0].threads, frame_ms=theirs, speedup=speedup)

    def avx2(self, note: str) -> Avx2Figures:
        """Compute the figures of the runs limited to AVX2."""
        encoder, decoder, frame = self.medians(LIMITED)
        free_encoder, free_decoder, free_frame = self.medians()
        ours = self.by_name[LIMITED + OURS][0]
        return Avx2Figures(
            backend=ours.backend,
            precision=ours.precision,
            note=note,
            encoder_ms=encoder,
            decoder_ms=decoder,
            frame_ms=frame,
            iou=self._agreement(LIMITED + ORIGINAL, LIMITED + OURS),
            speedup=speedups(encoder, decoder, frame),
            slowdown=Slowdowns(
                encoder=_ratio(encoder.ours, free_encoder.ours),
                encoder_rect=_ratio(encoder.ours_rect, free_encoder.ours_rect),
                decoder_20=_ratio(decoder.twenty.ours, free_decoder.twenty.ours),
                frame=_ratio(frame.ours, free_frame.ours),
            ),
        )

    def iou(self) -> IoU:
        """Compute the agreement of the masks."""
        return IoU(
            original=self._agreement(ORIGINAL, OURS),
            ultralytics=self._agreement(ULTRALYTICS, OURS),
            original_ultralytics=self._agreement(ORIGINAL, ULTRALYTICS),
            square=self._agreement(ORIGINAL, OURS_SQUARE),
        )

    def coverage(self) -> Coverage:
        """Compute the share of the picture that our masks cover."""
        with np.load(self.folder / f"{OURS}.npz") as drawn:
            covered = drawn["masks"].mean(axis=(1, 2))
        return Coverage(min=float(covered.min()), max=float(covered.max()))

    def segmenter(self, exporting: Measured) -> SegmenterFigures:
        """Compute start-up and memory; `exporting` is the pass that exported the networks."""
        ours, original = self.by_name[OURS], self.by_name.get(ORIGINAL)
        load_ms = statistics.median(one.load_ms for one in ours)
        return SegmenterFigures(
            load_ms=load_ms,
            first_result_ms=statistics.median(one.first_ms for one in ours),
            rss_mb=ours[0].rss_mb,
            original_rss_mb=original[0].rss_mb if original else None,
            export_s=(exporting.load_ms - load_ms) / 1000,
        )

    def _encoder_ms(self, name: str) -> float | None:
        return median([time for one in self.by_name.get(name, []) for time in one.encoder_ms])

    def _decoder(self, prefix: str, count: int) -> DecoderMs:
        original, ours = (
            median([time for one in self.by_name.get(prefix + name, []) for time in one.decoder_ms[str(count)]])
            for name in (ORIGINAL, OURS)
        )
        return DecoderMs(original=original, ours=ours)

    def _frames_ms(self, name: str) -> list[float]:
        return [time for one in self.by_name.get(name, []) for time in one.frame_ms]

    def _agreement(self, first: str, second: str) -> Agreement | None:
        paths = [self.folder / f"{name}.npz" for name in (first, second)]
        if not all(path.is_file() for path in paths):
            return None
        with np.load(paths[0]) as one, np.load(paths[1]) as other:
            common = (one["masks"] & other["masks"]).sum(axis=(1, 2))
            either = (one["masks"] | other["masks"]).sum(axis=(1, 2))
            scores = float(np.abs(one["scores"] - other["scores"]).max())
        iou = np.where(either == 0, 1.0, common / np.maximum(either, 1))  # two empty masks agree
        return Agreement(mean=float(iou.mean()), min=float(iou.min()), predicted_iou=scores)


_ROWS = ("one", "five", "twenty")


def speedups(encoder: EncoderMs, decoder: DecoderRows, frame: FrameMs) -> Speedups:
    """Divide the others' medians by ours."""
    return Speedups(
        encoder=_ratio(encoder.original, encoder.ours),
        encoder_rect=_ratio(encoder.original, encoder.ours_rect),
        decoder_1=_ratio(decoder.one.original, decoder.one.ours),
        decoder_5=_ratio(decoder.five.original, decoder.five.ours),
        decoder_20=_ratio(decoder.twenty.original, decoder.twenty.ours),
        frame=_ratio(frame.original, frame.ours),
        frame_ultralytics=_ratio(frame.ultralytics, frame.ours),
    )


def median(times: list[float]) -> float | None:
    """Return the median; None without times."""
    return statistics.median(times) if times else None


def _ratio(slow: float | None, fast: float | None) -> float | None:
    return None if slow is None or fast is None else slow / fast
