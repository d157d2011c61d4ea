"""Speed and quality of the small segmenter, nano, beside GrabCut."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import truth
from benchmarks.flow import FlowFinder, coverage_of, grey, mask_of, warp
from benchmarks.grabcut import grabcut
from benchmarks.measure import Report, medians_ms
from streamseg.bench.machine import Machine, this_machine
from streamseg.errors import DataError
from streamseg.geometry import Box
from streamseg.images import read_image
from streamseg.masks import Mask
from streamseg.models.segmenters.nano.drawing import draw_masks
from streamseg.models.segmenters.nano.network_file import OnnxNetwork, shipped_network
from streamseg.train.augmentation import DETECTOR_SPREAD, jittered

_LAGS = (5, 15)
_FRAMES_BETWEEN_PRIORS = 5
_GOOD = 0.9
"""IoU from which a prior counts as good."""
_BINS = 10
_ROUNDS = 30
_LOADS = 5


class BoxIoU(msgspec.Struct, frozen=True, kw_only=True):
    """Mean IoU with the truth over objects; None without objects.

    Attributes:
        nano: From true boxes.
        nano_jittered: From boxes whose edges are off by 5% of their sides (standard deviation).
        grabcut: GrabCut from true boxes.
        grabcut_jittered: GrabCut from the boxes that are off.
    """

    nano: float | None
    nano_jittered: float | None
    grabcut: float | None
    grabcut_jittered: float | None


class Confidence(msgspec.Struct, frozen=True, kw_only=True):
    """Reliability of the predicted IoU, over the masks from both kinds of boxes.

    Attributes:
        predicted: Mean of the prediction.
        actual: Mean IoU.
        calibration_error: Mean distance of the two in ten bins of equal size.
        correlation: Pearson's, of prediction and IoU; None where one of them is constant.
    """

    predicted: float
    actual: float
    calibration_error: float
    correlation: float | None


class PriorIoU(msgspec.Struct, frozen=True, kw_only=True):
    """Mean IoU with a prior: a mask that plain flow propagated over `lag` frames. Boxes are true.

    Attributes:
        lag: In frames.
        without: Nano without the prior.
        prior: The prior itself.
        nano: Nano with the prior.
        good_prior: Priors with an IoU of at least 0.9, over all frames; None without any.
        good_nano: Nano with those.
    """

    lag: int
    without: float
    prior: float
    nano: float
    good_prior: float | None
    good_nano: float | None


class SetFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One folder.

    Attributes:
        folder: Its path as given.
        pictures: Pictures measured; photographs that the network was trained on are left out.
        objects: Masks measured.
        iou: Over all objects; for sequences, the mean of their means.
        confidence: Of nano's masks; None without objects.
        sequences: By sequence; empty for photographs.
        priors: By lag, the mean over the sequences; empty for photographs.
    """

    folder: str
    pictures: int
    objects: int
    iou: BoxIoU
    confidence: Confidence | None
    sequences: dict[str, BoxIoU]
    priors: list[PriorIoU]


class NanoFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Times are medians on one thread, on a frame of 1280x720 with boxes of 200x300, from the frame to the masks.

    Attributes:
        file_bytes: Size of the network.
        load_ms: Loading the network; ONNX Runtime is imported already.
        grabcut_one_box_ms: GrabCut, one box.
        sets: The folders in the order given.
    """

    machine: Machine
    file_bytes: int
    load_ms: float
    one_box_ms: float
    ten_boxes_ms: float
    grabcut_one_box_ms: float
    sets: list[SetFigures]


@dataclass
class _Tally:
    """IoU of each mask by its origin, and predicted and actual IoU of each of nano's masks."""

    nano: list[float] = field(default_factory=list)
    nano_jittered: list[float] = field(default_factory=list)
    grabcut: list[float] = field(default_factory=list)
    grabcut_jittered: list[float] = field(default_factory=list)
    predicted_and_actual: list[tuple[float, float]] = field(default_factory=list)

    def add(self, picture: truth.TruePicture, network: OnnxNetwork, random: np.random.Generator) -> None:
        """Segment all objects of a picture from true boxes and from boxes that are off."""
        true = picture.masks * 2
        boxes = [mask.xyxy for mask in picture.masks]
        boxes += [jittered(box, DETECTOR_SPREAD, random) for box in boxes]
        drawn = draw_masks(network, picture.image, boxes)
        ious = [_iou(each.mask, mask) for each, mask in zip(drawn, true, strict=True)]
        rivals = [_iou(grabcut(picture.image, box), mask) for box, mask in zip(boxes, true, strict=True)]
        half = len(picture.masks)
        self.nano += ious[:half]
        self.nano_jittered += ious[half:]
        self.grabcut += rivals[:half]
        self.grabcut_jittered += rivals[half:]
        self.predicted_and_actual += zip((each.predicted_iou for each in drawn), ious, strict=True)

    def iou(self) -> BoxIoU:
        """Average each origin."""
        return BoxIoU(**{name: _mean(getattr(self, name)) for name in BoxIoU.__struct_fields__})


def bench_nano(folders: Iterable[Path], weights: Path | None, report: Report) -> NanoFigures:
    """Measure.

    Args:
        folders: Each holds sequences (`NAME/frames` and `NAME/masks`, white on black) or COCO instances
            (`instances.json` and `images`).
        weights: A network to measure instead of the package's.
        report: Receives a line before each step.

    Raises:
        DataError: A folder holds neither.
        CheckpointError: The file is not a network of nano.
    """
    cv2.setNumThreads(1)
    places = list(folders)
    for folder in places:
        _check_layout(folder)
    report("timing")
    network = OnnxNetwork(weights, threads=1)
    [load_ms] = medians_ms([lambda: OnnxNetwork(weights, threads=1)], _LOADS)
    image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    boxes: list[Box] = [(50.0 + 110 * n, 100.0 + 30 * n, 250.0 + 110 * n, 400.0 + 30 * n) for n in range(10)]
    one_box_ms, ten_boxes_ms, grabcut_ms = medians_ms(
        [
            lambda: draw_masks(network, image, boxes[:1]),
            lambda: draw_masks(network, image, boxes),
            lambda: grabcut(image, boxes[0]),
        ],
        _ROUNDS,
    )
    return NanoFigures(
        machine=this_machine(),
        file_bytes=len(shipped_network()) if weights is None else weights.stat().st_size,
        load_ms=load_ms,
        one_box_ms=one_box_ms,
        ten_boxes_ms=ten_boxes_ms,
        grabcut_one_box_ms=grabcut_ms,
        sets=[(_photographs if truth.is_coco(folder) else _sequences)(folder, network, report) for folder in places],
    )


def _check_layout(folder: Path) -> None:
    if truth.is_coco(folder):
        return
    if not any(folder.glob("*/frames")):
        raise DataError(
            f"{folder} holds nothing to measure on; expected NAME/frames and NAME/masks, or instances.json and images"
        )
    truth.sequences(folder)


def _photographs(folder: Path, network: OnnxNetwork, report: Report) -> SetFigures:
    report(f"measuring {folder}")
    random = np.random.default_rng(0)
    tally = _Tally()
    pictures = 0
    for picture in truth.coco_pictures(folder, network.trained_on):
        tally.add(picture, network, random)
        pictures += 1
    return SetFigures(
        folder=str(folder),
        pictures=pictures,
        objects=len(tally.nano),
        iou=tally.iou(),
        confidence=_confidence([tally]),
        sequences={},
        priors=[],
    )


def _sequences(folder: Path, network: OnnxNetwork, report: Report) -> SetFigures:
    random = np.random.default_rng(0)
    tallies: dict[str, _Tally] = {}
    priors: dict[int, list[list[_PriorRow]]] = {lag: [] for lag in _LAGS}
    for name, sequence in truth.sequences(folder).items():
        report(f"measuring {folder / name}")
        tallies[name] = _Tally()
        for picture in sequence.pictures():
            tallies[name].add(picture, network, random)
        for lag, rows in _with_priors(sequence, network).items():
            priors[lag].append(rows)
    ious = {name: tally.iou() for name, tally in tallies.items()}
    frames = sum(len(tally.nano) for tally in tallies.values())
    return SetFigures(
        folder=str(folder),
        pictures=frames,
        objects=frames,
        iou=BoxIoU(**{name: _mean(getattr(iou, name) for iou in ious.values()) for name in BoxIoU.__struct_fields__}),
        confidence=_confidence(list(tallies.values())),
        sequences=ious,
        priors=[_prior(lag, by_sequence) for lag, by_sequence in priors.items() if by_sequence],
    )


class _PriorRow(NamedTuple):
    """IoU of the masks of one frame."""

    without: float
    prior: float
    nano: float


def _with_priors(sequence: truth.Sequence, network: OnnxNetwork) -> dict[int, list[_PriorRow]]:
    """Segment frames with and without a prior, by the prior's age; lags longer than the sequence are left out."""
    pictures = [grey(read_image(frame)) for frame in sequence.frames]
    finder = FlowFinder(*pictures[0].shape)
    flows = [finder.find(before, after) for before, after in itertools.pairwise(pictures)]
    found: dict[int, list[_PriorRow]] = {}
    for first in range(0, len(sequence.frames) - min(_LAGS), _FRAMES_BETWEEN_PRIORS):
        start = sequence.mask(first)
        if start is None:
            continue
        coverage = coverage_of(start, *pictures[0].shape)
        for lag, flow in enumerate(flows[first : first + max(_LAGS)], 1):
            coverage = warp(coverage, flow)
            true = sequence.mask(first + lag) if lag in _LAGS else None
            if true is not None:
                prior = mask_of(coverage)
                image = read_image(sequence.frames[first + lag])
                without, drawn = draw_masks(network, image, [true.xyxy] * 2, [None, prior])
                row = _PriorRow(_iou(without.mask, true), _iou(prior, true), _iou(drawn.mask, true))
                found.setdefault(lag, []).append(row)
    return found


def _prior(lag: int, by_sequence: Sequence[Sequence[_PriorRow]]) -> PriorIoU:
    """Average the sequences' means; good priors over all frames, because many sequences have none."""
    means = [[statistics.fmean(column) for column in zip(*rows, strict=True)] for rows in by_sequence]
    without, prior, nano = (statistics.fmean(column) for column in zip(*means, strict=True))
    good = [row for rows in by_sequence for row in rows if row.prior >= _GOOD]
    return PriorIoU(
        lag=lag,
        without=without,
        prior=prior,
        nano=nano,
        good_prior=_mean(row.prior for row in good),
        good_nano=_mean(row.nano for row in good),
    )


def _iou(mask: Mask | None, true: Mask) -> float:
    return 0.0 if mask is None else mask.iou(true)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _confidence(tallies: Sequence[_Tally]) -> Confidence | None:
    pairs = [pair for tally in tallies for pair in tally.predicted_and_actual]
    if not pairs:
        return None
    predicted, actual = np.array(pairs).T
    bins = np.array_split(np.argsort(predicted), _BINS)
    errors = [abs(predicted[places].mean() - actual[places].mean()) * len(places) for places in bins if len(places)]
    return Confidence(
        predicted=float(predicted.mean()),
        actual=float(actual.mean()),
        calibration_error=float(sum(errors) / len(predicted)),
        correlation=float(np.corrcoef(predicted, actual)[0, 1]) if predicted.std() * actual.std() > 0 else None,
    )


def print_nano(figures: NanoFigures) -> None:
    """Print times, then one table for each folder."""
    console = Console()
    times = Table("nano, one thread", "value")
    times.add_row("file", f"{figures.file_bytes / 1e6:.2f} MB")
    times.add_row("load", f"{figures.load_ms:.0f} ms")
    times.add_row("one box", f"{figures.one_box_ms:.1f} ms (GrabCut {figures.grabcut_one_box_ms:.0f} ms)")
    times.add_row("ten boxes", f"{figures.ten_boxes_ms:.1f} ms")
    console.print(times)
    for one in figures.sets:
        headings = ("nano", "nano, boxes 5% off", "GrabCut", "GrabCut, boxes 5% off")
        table = Table(escape(one.folder), *headings, title="mean IoU")
        for name, iou in (*one.sequences.items(), (f"{one.pictures} pictures, {one.objects} objects", one.iou)):
            table.add_row(escape(name), *map(_cell, msgspec.structs.astuple(iou)))
        console.print(table)
        if one.confidence is not None:
            console.print(", ".join(f"{name} {_cell(value)}" for name, value in _items(one.confidence)), markup=False)
        for prior in one.priors:
            console.print(", ".join(f"{name} {_cell(value)}" for name, value in _items(prior)), markup=False)


def _items(figures: Confidence | PriorIoU) -> Iterable[tuple[str, float | None]]:
    return msgspec.structs.asdict(figures).items()


def _cell(value: float | None) -> str:
    if value is None:
        return "none"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
