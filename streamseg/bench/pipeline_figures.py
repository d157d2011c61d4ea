"""The figures of `streamseg bench pipeline`; the names here are the keys of its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from streamseg.bench.machine import Machine
from streamseg.messages import Dropped, Result
from streamseg.sources.scene import TruthObject

LEAST_IOU = 0.3
"""A published mask that overlaps an object's true one by less is not that object's."""
_ENDS_S = 10


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Half of the values are below the one, and 99 of 100 below the other; None where there was none."""

    p50: float | None
    p99: float | None


class SegmentedFps(msgspec.Struct, frozen=True, kw_only=True):
    """Keyframes answered a second, with masks that were published: by the pipeline, and by the same segmenter alone on one thread."""

    in_pipeline: float
    alone: float


class MemoryFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of all processes together, in 10^6 bytes, means of ten seconds; None where the system does not say."""

    start: float | None
    end: float | None


class RecordingFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The same while the overlay is recorded as MP4, in a shorter run of its own."""

    seconds: float
    published_fps: float
    frame_age_ms: Percentiles


class PipelineFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a pipeline reaches on 720p at 30 frames a second.

    Attributes:
        seconds: How long it was counted.
        frames: How many were published then.
        overlays: How many of them came to the subscriber of the drawn pictures.
        backend: What ran MobileSAM.
        precision: What its encoder computed in.
        published_fps: Frames published a second.
        frame_age_ms: From a frame's capture to its publication.
        same_frame_boxes: Share of the frames that were published with boxes found on that very frame.
        mask_age_ms: From the frame that a published mask was drawn on to the frame that it is published with.
        segmented_fps: How many keyframes the segmenter answered a second.
        true_objects: Objects that could be seen in the frames published, summed up over them.
        masked_share: Share of them for which a mask was published.
        mask_iou: How well those masks agree with the truth of the frame that they were published with, mean IoU; None without any.
        dropped: Frames lost while it was counted, by cause.
        rss_mb: At the beginning and at the end.
        recording: What recording costs besides.
    """

    machine: Machine
    seconds: float
    frames: int
    overlays: int
    backend: str
    precision: str
    published_fps: float
    frame_age_ms: Percentiles
    same_frame_boxes: float
    mask_age_ms: Percentiles
    segmented_fps: SegmentedFps
    true_objects: int
    masked_share: float
    mask_iou: float | None
    dropped: Dropped
    rss_mb: MemoryFigures
    recording: RecordingFigures


@dataclass(frozen=True, slots=True)
class FrameSeen:
    """What is counted of a published frame.

    Attributes:
        age_ms: From its capture to its publication.
        own_boxes: Whether its boxes were found on itself.
        mask_ages_ms: The age of each of its masks.
        true_objects: How many objects could be seen in it.
        ious: For each of them that has a mask, the mask's IoU with the true one.
        dropped: What was lost until then, since the stages started.
    """

    age_ms: float
    own_boxes: bool
    mask_ages_ms: list[float]
    true_objects: int
    ious: list[float]
    dropped: Dropped


def percentiles(values: Sequence[float]) -> Percentiles:
    """The two of some values, by linear interpolation."""
    if not values:
        return Percentiles(p50=None, p99=None)
    return Percentiles(p50=float(np.percentile(values, 50)), p99=float(np.percentile(values, 99)))


def frame_seen(result: Result, truth: Sequence[TruthObject]) -> FrameSeen:
    """Reduce a result to what is counted of it.

    Args:
        result: As it was published.
        truth: What can be seen in that very frame.
    """
    masked = [item for item in result.objects if item.mask is not None]
    return FrameSeen(
        age_ms=result.timings.published or 0.0,
        own_boxes=result.boxes_seq == result.seq,
        mask_ages_ms=[item.age_ms for item in masked],
        true_objects=len(truth),
        ious=match([[item.mask.iou(true.mask) for true in truth] for item in masked if item.mask is not None]),
        dropped=result.dropped,
    )


def match(ious: Sequence[Sequence[float]]) -> list[float]:
    """Pair rows with columns greedily, each at most once: the values of the pairs, from the best down to `LEAST_IOU`."""
    pairs = sorted(
        ((iou, row, column) for row, columns in enumerate(ious) for column, iou in enumerate(columns)), reverse=True
    )
    rows: set[int] = set()
    columns: set[int] = set()
    found = []
    for iou, row, column in pairs:
        if iou >= LEAST_IOU and row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            found.append(iou)
    return found


def dropped_between(first: Dropped, last: Dropped) -> Dropped:
    """What was lost from one result to another of the same run."""
    return Dropped(**{name: getattr(last, name) - getattr(first, name) for name in Dropped.__struct_fields__})


def ends_of(samples: Sequence[float | None]) -> MemoryFigures:
    """Means of the first and the last ten of what was measured once a second."""
    known = [sample for sample in samples if sample is not None]
    if not known:
        return MemoryFigures(start=None, end=None)
    return MemoryFigures(start=float(np.mean(known[:_ENDS_S])), end=float(np.mean(known[-_ENDS_S:])))
