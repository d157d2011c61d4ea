"""The figures of `streamseg bench models`; the names here are the keys of its JSON. Times are medians, in milliseconds."""

from __future__ import annotations

import msgspec

from benchmarks.detector import DetectorFigures
from streamseg.bench.machine import Machine
from streamseg.sam.info import PublishedCounts


class EncoderMs(msgspec.Struct, frozen=True, kw_only=True):
    """A frame to its embedding, resizing included: the original, ours on its square input, and ours on the picture's part of that."""

    original: float | None
    ours: float | None
    ours_rect: float | None


class DecoderMs(msgspec.Struct, frozen=True, kw_only=True):
    """So many boxes of one frame to masks in pixels of the frame."""

    original: float | None
    ours: float | None


class DecoderRows(msgspec.Struct, frozen=True, kw_only=True):
    """By the number of boxes."""

    one: DecoderMs = msgspec.field(name="1")
    five: DecoderMs = msgspec.field(name="5")
    twenty: DecoderMs = msgspec.field(name="20")


class FrameMs(msgspec.Struct, frozen=True, kw_only=True):
    """A whole frame with five boxes."""

    original: float | None
    ultralytics: float | None
    ours: float | None


class OwnThreads(msgspec.Struct, frozen=True, kw_only=True):
    """Ultralytics as its users have it: with as many threads as it sets itself.

    Attributes:
        threads: How many.
        frame_ms: A whole frame with five boxes.
        speedup: How many times as fast ours is, with the threads of all other rows.
    """

    threads: int
    frame_ms: float
    speedup: float


class Speedups(msgspec.Struct, frozen=True, kw_only=True):
    """How many times as fast ours is; against the original but for the last."""

    encoder: float | None
    encoder_rect: float | None
    decoder_1: float | None
    decoder_5: float | None
    decoder_20: float | None
    frame: float | None
    frame_ultralytics: float | None


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How alike two programs' masks of the same boxes are.

    Attributes:
        mean: Mean IoU.
        min: The least.
        predicted_iou: The largest difference of the predicted IoU.
    """

    mean: float
    min: float
    predicted_iou: float


class IoU(msgspec.Struct, frozen=True, kw_only=True):
    """Our masks beside others'. The others draw the one mask for clear prompts; with weights that take it to be poor, ours is another one.

    Attributes:
        original: The original's, for all twenty boxes.
        ultralytics: Ultralytics', for all twenty boxes.
        original_ultralytics: Those two beside each other: Ultralytics resizes by another method and pads with grey.
        square: The original's beside ours on the square input.
    """

    original: Agreement | None
    ultralytics: Agreement | None
    original_ultralytics: Agreement | None
    square: Agreement | None


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest and the largest part of the picture that one of our masks covers, 0 to 1."""

    min: float
    max: float


class Avx2Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The same with the instruction set held to AVX2, as on most laptops.

    Attributes:
        backend: What ours ran on.
        precision: What its encoder computed in.
        note: What is to be known of the choice.
        encoder_ms: As above.
        decoder_ms: As above.
        frame_ms: As above.
        iou: Our masks beside the original's, both held.
        speedup: Ours beside the others, all held.
        slowdown: How many times as long ours takes as without being held.
    """

    backend: str
    precision: str
    note: str
    encoder_ms: EncoderMs
    decoder_ms: DecoderRows
    frame_ms: FrameMs
    iou: Agreement | None
    speedup: Speedups
    slowdown: Slowdowns


class Slowdowns(msgspec.Struct, frozen=True, kw_only=True):
    """Ours held to AVX2 beside ours as it is."""

    encoder: float | None
    encoder_rect: float | None
    decoder_20: float | None
    frame: float | None


class SegmenterFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What ours needs before and besides its work.

    Attributes:
        load_ms: Making it ready, its libraries included, where its networks were exported before.
        first_result_ms: The first frame with five boxes after that.
        rss_mb: Memory of its process, in 10^6 bytes; None where the system does not say.
        original_rss_mb: The same of the original.
        export_s: Exporting its networks, which happens once.
    """

    load_ms: float
    first_result_ms: float
    rss_mb: float | None
    original_rss_mb: float | None
    export_s: float


class ComparedFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Another model with random weights, which cost what trained ones do.

    Attributes:
        model: Its name.
        encoder_ms: A frame to its embedding; None where the model has no such step.
        decoder_1_ms: One box; likewise.
        decoder_5_ms: Five boxes; likewise.
        frame_ms: A whole frame with five boxes.
        rounds: Times that it was done.
        skipped: Why nothing was measured; None where it was.
    """

    model: str
    encoder_ms: float | None = None
    decoder_1_ms: float | None = None
    decoder_5_ms: float | None = None
    frame_ms: float | None = None
    rounds: int = 0
    skipped: str | None = None


class ParameterFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How many parameters a model has in each of its parts, and what was published of it (None where nothing was)."""

    model: str
    image_encoder: int
    prompt_encoder: int
    mask_decoder: int
    total: int
    published: PublishedCounts | None


class ModelsFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All of one run.

    Attributes:
        date: The day of it.
        machine: Where.
        threads: How many each program had.
        picture: Width and height of the frame.
        weights: Whose: `seeded`, or the name of the file.
        versions: Of the packages at work.
        rounds: Times that a frame was done by each; the slow ones fewer.
        backend: What ours ran on.
        precision: What its encoder computed in.
        encoder_ms: See there, as the rest.
        speedup: Ratios of the medians.
        ultralytics_own_threads: None where it was not measured.
        missing: Why there are no figures of some; empty where all is here.
        detector: None where it could not be measured.
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


class RoundFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How often a frame was done."""

    original: int
    ultralytics: int
    ours: int


def ratio(slow: float | None, fast: float | None) -> float | None:
    """How many times as long the first takes; None where one was not measured."""
    return None if slow is None or fast is None else slow / fast


def speedups(encoder: EncoderMs, decoder: DecoderRows, frame: FrameMs) -> Speedups:
    """Ours beside the others."""
    return Speedups(
        encoder=ratio(encoder.original, encoder.ours),
        encoder_rect=ratio(encoder.original, encoder.ours_rect),
        decoder_1=ratio(decoder.one.original, decoder.one.ours),
        decoder_5=ratio(decoder.five.original, decoder.five.ours),
        decoder_20=ratio(decoder.twenty.original, decoder.twenty.ours),
        frame=ratio(frame.original, frame.ours),
        frame_ultralytics=ratio(frame.ultralytics, frame.ours),
    )
