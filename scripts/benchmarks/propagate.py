"""Quality and speed of propagated masks, beside rivals."""

from __future__ import annotations

import functools
import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import msgspec
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import truth
from benchmarks.flow import FlowFinder, grey
from benchmarks.measure import Report, timed
from benchmarks.scenes import FIVE_OBJECTS, HEIGHT, KINDS, WIDTH, film
from benchmarks.truth import TrueFrame
from benchmarks.ways import ByBox, ByFlow, Frozen, Propagated, StartWay, Step
from streamseg.bench.machine import Machine, this_machine
from streamseg.images import read_image
from streamseg.models.segmenters.nano.refiner import Refiner

_LAGS = (1, 5, 15, 30, 60)
_KEYFRAME_INTERVAL = 10
"""Frames between keyframes, whose masks are propagated."""
_SCENE_KEYFRAME_INTERVAL = 25
"""The same for drawn scenes, which look alike all along."""
_SEEDS = 3
"""Films of each scene."""
_BLOCK, _BLOCKS, _WARM_UP_BLOCKS = 30, 5, 1
"""Each way is timed on 30 frames in turn, five times, after once for warm-up."""


class MeanIoU(msgspec.Struct, frozen=True, kw_only=True):
    """Mean IoU with the truth; a lost mask counts as 0.

    Attributes:
        frozen: Left in place.
        flow: Moved by plain dense flow of the whole frame.
        box: Moved and scaled with the box.
        ours: Propagated as in the pipeline, without refinement.
        ours_refined: The same with refinement.
    """

    frozen: float
    flow: float
    box: float
    ours: float
    ours_refined: float


class LagFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Masks propagated over `lag` frames; `iou` is their mean, or the mean of several sequences' means."""

    lag: int
    masks: int
    iou: MeanIoU


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Mean predicted and mean actual IoU of the refined masks that were not lost."""

    predicted: float
    actual: float


class FootageFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One folder, or the drawn scenes.

    Attributes:
        of: The folder's path as given, or `scenes`.
        keyframe_interval: Frames between keyframes.
        parts: By sequence or scene; lags longer than it are left out.
        mean: Over the parts.
        calibration: Over all masks; None without any.
    """

    of: str
    keyframe_interval: int
    parts: dict[str, list[LagFigures]]
    mean: list[LagFigures]
    calibration: Calibration | None


class PropagationMs(msgspec.Struct, frozen=True, kw_only=True):
    """Median milliseconds of one core for five masks of 200x300 pixels at 1280x720; names as in `MeanIoU`."""

    flow: float
    box: float
    ours: float
    ours_refined: float


class PropagateFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All of one run; `frames_timed` is the number of frames behind each median."""

    machine: Machine
    ms_per_frame: PropagationMs
    frames_timed: int
    folders: list[FootageFigures]
    scenes: FootageFigures


def bench_propagate(folders: Iterable[Path], report: Report) -> PropagateFigures:
    """Measure.

    Args:
        folders: Each holds sequences: `NAME/frames` and `NAME/masks`, white on black.
        report: Receives a line before each step.

    Raises:
        DataError: A folder holds no sequences.
    """
    cv2.setNumThreads(1)
    found = {folder: truth.sequences(folder) for folder in folders}
    ways: dict[str, StartWay] = {
        "frozen": Frozen,
        "flow": ByFlow,
        "box": ByBox,
        "ours": Propagated,
        "ours_refined": functools.partial(Propagated, refine=Refiner()),
    }
    report("timing")
    ms_per_frame = _time({name: ways[name] for name in PropagationMs.__struct_fields__})
    measured = [_folder(folder, sequences, ways, report) for folder, sequences in found.items()]
    pictures = [sequence.frames[0] for sequences in found.values() for sequence in sequences.values()]
    return PropagateFigures(
        machine=this_machine(),
        ms_per_frame=ms_per_frame,
        frames_timed=_BLOCKS * (_BLOCK - 1),
        folders=measured,
        scenes=_scenes(pictures, ways, report),
    )


def _time(ways: Mapping[str, StartWay]) -> PropagationMs:
    """Time each way on the same frames, one way after the other in each block."""
    finder = FlowFinder(HEIGHT, WIDTH)
    times: dict[str, list[float]] = {name: [] for name in ways}
    frames = film(FIVE_OBJECTS, 0, frames=_BLOCK * (_WARM_UP_BLOCKS + _BLOCKS))
    for block in range(_WARM_UP_BLOCKS + _BLOCKS):
        shown = list(itertools.islice(frames, _BLOCK))
        for name, start in ways.items():
            way = start(0, shown[0])
            for seq, (before, after) in enumerate(itertools.pairwise(shown), 1):
                step = Step(seq, after.image, after.boxes, grey(before.image), finder)
                spent, _ = timed(functools.partial(way.update, step))
                if block >= _WARM_UP_BLOCKS:
                    times[name].append(spent)
    return PropagationMs(**{name: statistics.median(spent) for name, spent in times.items()})


@dataclass
class _Tally:
    """IoU of each mask by lag; predicted and actual IoU of each refined mask that was not lost."""

    ious: dict[int, list[MeanIoU]] = field(default_factory=dict)
    predicted_and_actual: list[tuple[float, float]] = field(default_factory=list)

    def lags(self) -> list[LagFigures]:
        """Average each lag."""
        return [LagFigures(lag=lag, masks=len(ious), iou=_mean(ious)) for lag, ious in sorted(self.ious.items())]


def _folder(
    folder: Path, sequences: Mapping[str, truth.Sequence], ways: Mapping[str, StartWay], report: Report
) -> FootageFigures:
    tallies = {}
    for name, sequence in sequences.items():
        report(f"measuring {folder / name}")
        tallies[name] = [_measure(sequence.true_frames(), _KEYFRAME_INTERVAL, ways)]
    return _figures(str(folder), _KEYFRAME_INTERVAL, tallies)


def _scenes(pictures: Sequence[Path], ways: Mapping[str, StartWay], report: Report) -> FootageFigures:
    """Measure the drawn scenes, with the pictures in turn as backdrops, if there are any."""
    tallies: dict[str, list[_Tally]] = {kind.name: [] for kind in KINDS}
    backdrops = itertools.cycle(pictures or [None])
    for kind, seed in itertools.product(KINDS, range(_SEEDS)):
        report(f"measuring scene {kind.name}, {seed + 1} of {_SEEDS}")
        backdrop = next(backdrops)
        frames = film(kind, seed, None if backdrop is None else read_image(backdrop))
        tallies[kind.name].append(_measure(frames, _SCENE_KEYFRAME_INTERVAL, ways))
    return _figures("scenes", _SCENE_KEYFRAME_INTERVAL, tallies)


def _measure(frames: Iterable[TrueFrame], keyframe_interval: int, ways: Mapping[str, StartWay]) -> _Tally:
    """Move the masks of each keyframe over the frames after it, all ways side by side."""
    tally = _Tally()
    finder: FlowFinder | None = None
    before = None
    keyframes: list[_Keyframe] = []
    for seq, frame in enumerate(frames):
        finder = finder or FlowFinder(*frame.image.shape[:2])
        step = Step(seq, frame.image, frame.boxes, before, finder)
        keyframes = [keyframe for keyframe in keyframes if seq - keyframe.seq <= max(_LAGS)]
        for keyframe in keyframes:
            keyframe.update(step, frame, tally)
        if seq % keyframe_interval == 0:
            keyframes.append(_Keyframe(seq, frame, ways))
        before = step.grey
    return tally


class _Keyframe:
    """The masks of one keyframe on their way over newer frames."""

    def __init__(self, seq: int, frame: TrueFrame, ways: Mapping[str, StartWay]) -> None:
        self.seq = seq
        self._known = [mask is not None for mask in frame.masks]
        self._ways = {name: start(seq, frame) for name, start in ways.items()}

    def update(self, step: Step, frame: TrueFrame, tally: _Tally) -> None:
        """Move all masks to the next frame; compare them with the truth at the lags that are measured."""
        moved = {name: way.update(step) for name, way in self._ways.items()}
        lag = step.seq - self.seq
        if lag not in _LAGS:
            return
        for place, true in enumerate(frame.masks):
            if true is None or not self._known[place]:
                continue
            masks = {name: each[place].mask for name, each in moved.items()}
            iou = MeanIoU(**{name: 0.0 if mask is None else mask.iou(true) for name, mask in masks.items()})
            tally.ious.setdefault(lag, []).append(iou)
            predicted = moved["ours_refined"][place].predicted_iou
            if predicted is not None:
                tally.predicted_and_actual.append((predicted, iou.ours_refined))


def _figures(of: str, keyframe_interval: int, tallies: Mapping[str, Sequence[_Tally]]) -> FootageFigures:
    """Average the tallies of each name, and the names."""
    parts = {name: _means([tally.lags() for tally in several]) for name, several in tallies.items()}
    pairs = [pair for several in tallies.values() for tally in several for pair in tally.predicted_and_actual]
    predicted, actual = np.mean(pairs, axis=0) if pairs else (0.0, 0.0)
    return FootageFigures(
        of=of,
        keyframe_interval=keyframe_interval,
        parts=parts,
        mean=_means(list(parts.values())),
        calibration=Calibration(predicted=float(predicted), actual=float(actual)) if pairs else None,
    )


def _means(several: Sequence[Sequence[LagFigures]]) -> list[LagFigures]:
    """Average each lag over the parts that have it."""
    means = []
    for lag in _LAGS:
        parts = [one for figures in several for one in figures if one.lag == lag]
        if parts:
            masks, iou = sum(one.masks for one in parts), _mean([one.iou for one in parts])
            means.append(LagFigures(lag=lag, masks=masks, iou=iou))
    return means


def _mean(ious: Sequence[MeanIoU]) -> MeanIoU:
    return MeanIoU(**{name: statistics.fmean(getattr(iou, name) for iou in ious) for name in MeanIoU.__struct_fields__})


def print_propagate(figures: PropagateFigures) -> None:
    """Print times, then one table for each folder and one for the scenes."""
    console = Console()
    times = Table("one core, five masks of 200x300", "ms a frame of 1280x720")
    for name, ms in msgspec.structs.asdict(figures.ms_per_frame).items():
        times.add_row(name, f"{ms:.1f}")
    console.print(times)
    for one in (*figures.folders, figures.scenes):
        title = f"mean IoU, a keyframe every {one.keyframe_interval} frames"
        table = Table(escape(one.of), "lag in frames", "masks", *MeanIoU.__struct_fields__, title=title)
        for name, lags in (*one.parts.items(), ("mean", one.mean)):
            for place, each in enumerate(lags):
                cells = [f"{iou:.3f}" for iou in msgspec.structs.astuple(each.iou)]
                last = place == len(lags) - 1
                table.add_row("" if place else escape(name), str(each.lag), str(each.masks), *cells, end_section=last)
        console.print(table)
        if one.calibration is not None:
            calibration = one.calibration
            console.print(f"refined: predicted IoU {calibration.predicted:.3f}, actual {calibration.actual:.3f}")
    console.print(
        "frozen: left in place; flow: moved by plain dense flow; box: moved and scaled with the box; "
        "ours: propagated as in the pipeline; ours_refined: the same with refinement; a lost mask counts as 0"
    )
