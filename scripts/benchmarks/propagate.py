"""How good carried masks are, beside rivals, and what carrying them costs."""

from __future__ import annotations

import functools
import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from benchmarks import truth
from benchmarks.carried import PlainFlow
from benchmarks.propagate_carriers import (
    ByBox,
    ByFlow,
    CarriedMask,
    Carrier,
    InPlace,
    Propagated,
    StartCarrier,
    Step,
)
from benchmarks.propagate_figures import (
    Calibration,
    CarriedIoU,
    CarryingMs,
    FootageFigures,
    LagFigures,
    PropagateFigures,
)
from benchmarks.propagate_footage import Shown, footage_of
from benchmarks.propagate_scenes import KINDS, film
from benchmarks.propagate_timing import carrying_ms
from streamseg.bench.machine import this_machine
from streamseg.images import read_image
from streamseg.masks import Mask
from streamseg.models.segmenters.nano.refiner import Refiner

_LAGS = (1, 5, 15, 30, 60)
_KEYFRAME_INTERVAL = 10
"""Frames between those whose masks are carried."""
_SCENE_KEYFRAME_INTERVAL = 25
"""The same of drawn scenes, which are alike all along."""
_SEEDS = 3
"""Films of each scene."""
_REFINED = "ours_refined"

Say = Callable[[str], None]


def bench_propagate(folders: Iterable[Path], say: Say) -> PropagateFigures:
    """Measure.

    Args:
        folders: Each holds sequences, `NAME/frames` and `NAME/masks`, white on black.
        say: Is told what is being measured.

    Raises:
        DataError: A folder does not.
    """
    cv2.setNumThreads(1)
    found = {folder: truth.sequences(folder) for folder in folders}
    say("timing")
    ways = _ways()
    ms_per_frame, frames_timed = carrying_ms({name: start for name, start in ways.items() if name != "frozen"})
    measured = [_folder(folder, sequences, ways, say) for folder, sequences in found.items()]
    pictures = [sequence.frames[0] for sequences in found.values() for sequence in sequences.values()]
    return PropagateFigures(
        machine=this_machine(),
        ms_per_frame=CarryingMs(**ms_per_frame),
        frames_timed=frames_timed,
        folders=measured,
        scenes=_scenes(pictures, ways, say),
    )


def _ways() -> dict[str, StartCarrier]:
    """By the names that the figures have."""
    return {
        "frozen": InPlace,
        "flow": ByFlow,
        "box": ByBox,
        "ours": Propagated,
        _REFINED: functools.partial(Propagated, refine=Refiner()),
    }


@dataclass
class _Tally:
    """What came out on some footage.

    Attributes:
        ious: By lag, for each mask.
        judged: Predicted and actual IoU of each refined mask that was not lost.
    """

    ious: dict[int, list[CarriedIoU]] = field(default_factory=dict)
    judged: list[tuple[float, float]] = field(default_factory=list)

    def lags(self) -> list[LagFigures]:
        return [LagFigures(lag=lag, masks=len(ious), iou=_mean(ious)) for lag, ious in sorted(self.ious.items())]


def _folder(
    folder: Path, sequences: Mapping[str, truth.Sequence], ways: Mapping[str, StartCarrier], say: Say
) -> FootageFigures:
    tallies = {}
    for name, sequence in sequences.items():
        say(f"measuring {folder / name}")
        tallies[name] = [_measure(footage_of(sequence), _KEYFRAME_INTERVAL, ways)]
    return _figures(str(folder), _KEYFRAME_INTERVAL, tallies)


def _scenes(pictures: Sequence[Path], ways: Mapping[str, StartCarrier], say: Say) -> FootageFigures:
    """The drawn scenes, over the pictures in turn, where there are any."""
    tallies: dict[str, list[_Tally]] = {kind.name: [] for kind in KINDS}
    backdrops = itertools.cycle(pictures or [None])
    for kind, seed in itertools.product(KINDS, range(_SEEDS)):
        say(f"measuring scene {kind.name}, {seed + 1} of {_SEEDS}")
        backdrop = next(backdrops)
        footage = film(kind, seed, None if backdrop is None else read_image(backdrop))
        tallies[kind.name].append(_measure(footage, _SCENE_KEYFRAME_INTERVAL, ways))
    return _figures("scenes", _SCENE_KEYFRAME_INTERVAL, tallies)


def _measure(footage: Iterable[Shown], keyframe_interval: int, ways: Mapping[str, StartCarrier]) -> _Tally:
    """Carry the masks of each keyframe over the frames that follow, all ways side by side."""
    tally = _Tally()
    finder: PlainFlow | None = None
    before = None
    runs: list[_Run] = []
    for seq, shown in enumerate(footage):
        finder = finder or PlainFlow(*shown.image.shape[:2])
        step = Step(seq, shown.image, shown.boxes, before, finder)
        runs = [run for run in runs if seq - run.start <= max(_LAGS)]
        for run in runs:
            run.follow(step, shown.masks, tally)
        if seq % keyframe_interval == 0:
            runs.append(_Run(seq, shown, ways))
        before = step.grey
    return tally


class _Run:
    """The masks of one keyframe on their way."""

    def __init__(self, start: int, shown: Shown, ways: Mapping[str, StartCarrier]) -> None:
        self.start = start
        self._known = [mask is not None for mask in shown.masks]
        self._carriers: dict[str, Carrier] = {name: way(start, shown) for name, way in ways.items()}

    def follow(self, step: Step, true_masks: Sequence[Mask | None], tally: _Tally) -> None:
        """Go on to the next frame, and judge there, where the lag is one that is measured."""
        carried = {name: carrier.follow(step) for name, carrier in self._carriers.items()}
        lag = step.seq - self.start
        if lag not in _LAGS:
            return
        for place, true in enumerate(true_masks):
            if true is not None and self._known[place]:
                of_each = {name: masks[place] for name, masks in carried.items()}
                ious = CarriedIoU(**{name: _iou(one, true) for name, one in of_each.items()})
                tally.ious.setdefault(lag, []).append(ious)
                predicted = of_each[_REFINED].predicted_iou
                if predicted is not None:
                    tally.judged.append((predicted, ious.ours_refined))


def _figures(of: str, keyframe_interval: int, tallies: Mapping[str, Sequence[_Tally]]) -> FootageFigures:
    """Each name has one tally or several, which are averaged."""
    parts = {name: _means([tally.lags() for tally in several]) for name, several in tallies.items()}
    judged = [pair for several in tallies.values() for tally in several for pair in tally.judged]
    predicted, actual = np.mean(judged, axis=0) if judged else (0.0, 0.0)
    return FootageFigures(
        of=of,
        keyframe_interval=keyframe_interval,
        parts=parts,
        mean=_means(list(parts.values())),
        calibration=Calibration(predicted=float(predicted), actual=float(actual)) if judged else None,
    )


def _means(several: Sequence[Sequence[LagFigures]]) -> list[LagFigures]:
    """By lag, the mean of those that have it."""
    means = []
    for lag in _LAGS:
        those = [one for figures in several for one in figures if one.lag == lag]
        if those:
            means.append(
                LagFigures(lag=lag, masks=sum(one.masks for one in those), iou=_mean([one.iou for one in those]))
            )
    return means


def _mean(ious: Sequence[CarriedIoU]) -> CarriedIoU:
    return CarriedIoU(
        **{name: statistics.fmean(getattr(iou, name) for iou in ious) for name in CarriedIoU.__struct_fields__}
    )


def _iou(carried: CarriedMask, true: Mask) -> float:
    return 0.0 if carried.mask is None else carried.mask.iou(true)
