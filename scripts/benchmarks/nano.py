"""How good nano's masks are, beside GrabCut, and what they cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks import carried, truth
from benchmarks.grabcut import GrabCut
from benchmarks.nano_figures import BoxIoU, Confidence, NanoFigures, PriorIoU, SetFigures
from streamseg.bench.machine import this_machine
from streamseg.geometry import Box
from streamseg.images import read_image
from streamseg.masks import Mask
from streamseg.messages import Detection, Image
from streamseg.models.segmenters.nano.drawing import draw_masks
from streamseg.models.segmenters.nano.network_file import OnnxNetwork, shipped_network
from streamseg.train.augmentation import DETECTOR_SPREAD, jittered

_LAGS = (5, 15)
_FRAMES_BETWEEN_PRIORS = 5
_GOOD = 0.9
"""IoU of a carried mask that is good already."""
_BINS = 10
_ROUNDS = 30

Say = Callable[[str], None]


@dataclass
class _Tally:
    """IoU of each mask, by what drew it."""

    nano: list[float] = field(default_factory=list)
    nano_jittered: list[float] = field(default_factory=list)
    grabcut: list[float] = field(default_factory=list)
    grabcut_jittered: list[float] = field(default_factory=list)
    judged: list[tuple[float, float]] = field(default_factory=list)
    """Predicted and actual IoU of each of nano's masks."""

    def iou(self) -> BoxIoU:
        return BoxIoU(
            nano=_mean(self.nano),
            nano_jittered=_mean(self.nano_jittered),
            grabcut=_mean(self.grabcut),
            grabcut_jittered=_mean(self.grabcut_jittered),
        )


def bench_nano(folders: Iterable[Path], weights: Path | None, say: Say) -> NanoFigures:
    """Measure.

    Args:
        folders: Each holds sequences, `NAME/frames` and `NAME/masks`, white on black, or COCO instances, `instances.json` and `images`.
        weights: A network of the user's own; None takes the one of the package.
        say: Is told what is being measured.

    Raises:
        DataError: A folder holds neither.
        CheckpointError: The file is not a network of nano.
    """
    cv2.setNumThreads(1)
    places = list(folders)
    for folder in places:
        truth.check_layout(folder)
    say("timing")
    network, load_ms = _load(weights)
    return NanoFigures(
        machine=this_machine(),
        file_bytes=len(shipped_network()) if weights is None else weights.stat().st_size,
        load_ms=load_ms,
        one_box_ms=_time(lambda image, boxes: draw_masks(network, image, boxes), 1),
        ten_boxes_ms=_time(lambda image, boxes: draw_masks(network, image, boxes), 10),
        grabcut_one_box_ms=_time(_grabcut, 1),
        sets=[
            (_photographs if truth.is_photographs(folder) else _sequences)(folder, network, say) for folder in places
        ],
    )


def _load(weights: Path | None) -> tuple[OnnxNetwork, float]:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        network = OnnxNetwork(weights, threads=1)
        times.append(time.perf_counter() - began)
    return network, 1000 * statistics.median(times)


def _time(draw: Callable[[Image, list[Box]], object], count: int) -> float:
    """Milliseconds for boxes of 200x300 pixels on a picture that is nowhere flat."""
    image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    boxes: list[Box] = [
        (50.0 + 110 * place, 100.0 + 30 * place, 250.0 + 110 * place, 400.0 + 30 * place) for place in range(count)
    ]
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        draw(image, boxes)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def _photographs(folder: Path, network: OnnxNetwork, say: Say) -> SetFigures:
    say(f"measuring {folder}")
    rng = np.random.default_rng(0)
    tally = _Tally()
    pictures = 0
    for picture in truth.photographs(folder, network.trained_on):
        _measure(picture, network, tally, rng)
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


def _sequences(folder: Path, network: OnnxNetwork, say: Say) -> SetFigures:
    rng = np.random.default_rng(0)
    tallies: dict[str, _Tally] = {}
    priors: dict[int, list[list[_PriorRow]]] = {lag: [] for lag in _LAGS}
    for name, sequence in truth.sequences(folder).items():
        say(f"measuring {folder / name}")
        tallies[name] = _Tally()
        for picture in sequence.pictures():
            _measure(picture, network, tallies[name], rng)
        for lag, rows in _with_priors(sequence, network).items():
            priors[lag].append(rows)
    of_each = {name: tally.iou() for name, tally in tallies.items()}
    frames = sum(len(tally.nano) for tally in tallies.values())
    return SetFigures(
        folder=str(folder),
        pictures=frames,
        objects=frames,
        iou=_mean_iou(list(of_each.values())),
        confidence=_confidence(list(tallies.values())),
        sequences=of_each,
        priors=[_prior(lag, of_sequences) for lag, of_sequences in priors.items() if of_sequences],
    )


def _mean_iou(ious: list[BoxIoU]) -> BoxIoU:
    return BoxIoU(
        nano=_mean(iou.nano for iou in ious),
        nano_jittered=_mean(iou.nano_jittered for iou in ious),
        grabcut=_mean(iou.grabcut for iou in ious),
        grabcut_jittered=_mean(iou.grabcut_jittered for iou in ious),
    )


def _measure(picture: truth.TruePicture, network: OnnxNetwork, tally: _Tally, rng: np.random.Generator) -> None:
    boxes = [mask.xyxy for mask in picture.masks]
    off = [jittered(box, DETECTOR_SPREAD, rng) for box in boxes]
    drawn = draw_masks(network, picture.image, boxes + off)
    ious = [_iou(answer.mask, true) for answer, true in zip(drawn, picture.masks * 2, strict=True)]
    tally.nano += ious[: len(boxes)]
    tally.nano_jittered += ious[len(boxes) :]
    tally.judged += zip((answer.predicted_iou for answer in drawn), ious, strict=True)
    rival = _grabcut(picture.image, boxes + off)
    rivals = [_iou(mask, true) for mask, true in zip(rival, picture.masks * 2, strict=True)]
    tally.grabcut += rivals[: len(boxes)]
    tally.grabcut_jittered += rivals[len(boxes) :]


class _PriorRow(NamedTuple):
    """IoU of the masks of one frame."""

    without: float
    prior: float
    nano: float


def _with_priors(sequence: truth.Sequence, network: OnnxNetwork) -> dict[int, list[_PriorRow]]:
    """By lag, for those lags that the sequence is long enough for."""
    path = carried.flows(sequence)
    found: dict[int, list[_PriorRow]] = {lag: [] for lag in _LAGS}
    for first in range(0, len(sequence.frames) - min(_LAGS), _FRAMES_BETWEEN_PRIORS):
        start = sequence.mask(first)
        if start is None:
            continue
        for lag, prior in enumerate(carried.carried(start, path[first : first + max(_LAGS)]), 1):
            true = sequence.mask(first + lag) if lag in _LAGS else None
            if true is not None:
                image = read_image(sequence.frames[first + lag])
                without, drawn = draw_masks(network, image, [true.xyxy] * 2, [None, prior])
                found[lag].append(_PriorRow(_iou(without.mask, true), _iou(prior, true), _iou(drawn.mask, true)))
    return {lag: rows for lag, rows in found.items() if rows}


def _prior(lag: int, of_sequences: list[list[_PriorRow]]) -> PriorIoU:
    """The mean of the sequences' means; of good priors, that of all frames, since many sequences have none."""
    means = [[statistics.fmean(column) for column in zip(*rows, strict=True)] for rows in of_sequences]
    without, prior, nano = (statistics.fmean(column) for column in zip(*means, strict=True))
    good = [row for rows in of_sequences for row in rows if row.prior >= _GOOD]
    return PriorIoU(
        lag=lag,
        without=without,
        prior=prior,
        nano=nano,
        good_prior=_mean(row.prior for row in good),
        good_nano=_mean(row.nano for row in good),
    )


def _grabcut(image: Image, boxes: Iterable[Box]) -> list[Mask | None]:
    rival = GrabCut()
    detections = [Detection(xyxy=box, confidence=1.0, class_id=0, class_name="object") for box in boxes]
    return [answer.mask for answer in rival.decode(rival.encode(image), detections)]


def _iou(mask: Mask | None, true: Mask) -> float:
    return 0.0 if mask is None else mask.iou(true)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _confidence(tallies: list[_Tally]) -> Confidence | None:
    if not any(tally.judged for tally in tallies):
        return None
    predicted, actual = np.array([pair for tally in tallies for pair in tally.judged]).reshape(-1, 2).T
    bins = np.array_split(np.argsort(predicted), _BINS)
    errors = [abs(predicted[places].mean() - actual[places].mean()) * len(places) for places in bins if len(places)]
    return Confidence(
        predicted=float(predicted.mean()),
        actual=float(actual.mean()),
        calibration_error=float(sum(errors) / len(predicted)),
        correlation=float(np.corrcoef(predicted, actual)[0, 1]) if predicted.std() * actual.std() > 0 else None,
    )
