"""How steady the numbers of objects are: of drawn scenes, and of filmed clips with a truth that was marked by hand."""

from __future__ import annotations

import importlib.util
import statistics
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import msgspec
import numpy as np
import supervision as sv
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Report, timed
from benchmarks.track_scenes import track_scenes
from benchmarks.track_score import Scorer, TrackScore, TrueBoxes
from streamseg.bench.machine import Machine, this_machine
from streamseg.duplicates import merge_boxes, merge_masks
from streamseg.errors import DataError
from streamseg.geometry import Box
from streamseg.messages import Detection, Frame, Image, TrackedObject
from streamseg.models.options import Compute, DetectorSettings, SegmenterSettings
from streamseg.models.registry import create_detector, create_segmenter
from streamseg.sources import SourceSettings
from streamseg.sources.file import FileSource
from streamseg.stages.tracking import LOW_SHARE, Tracker

SHARED: Final = Path(__file__).resolve().parents[3] / "shared" / "data"
"""Test data beside the checkout."""
_TRUTH = Path(__file__).with_name("true_tracks")
_CONFIDENCE = 0.25
"""The pipeline's default."""
_FRAME_NS = 33_366_667
_SAME_MASK_IOU = 0.5
"""IoU from which on two masks count as a pair."""


class _TrueTrack(msgspec.Struct, frozen=True):
    """Key positions of an object in each span in which it can be seen: frame, left, top, right, bottom."""

    name: str
    spans: list[list[tuple[int, float, float, float, float]]]

    def box(self, seq: int) -> Box | None:
        """The box in a frame, between two keys on a line between theirs; None where it cannot be seen."""
        for span in self.spans:
            for (first, *before), (last, *after) in pairwise(span):
                if first <= seq <= last:
                    share = (seq - first) / (last - first)
                    left, top, right, bottom = (a + share * (b - a) for a, b in zip(before, after, strict=True))
                    return left, top, right, bottom
        return None


class TrueClip(msgspec.Struct, frozen=True):
    """The objects of a clip that were marked; others may be in it."""

    clip: str
    width: int
    height: int
    objects: list[_TrueTrack]

    def truth(self, seq: int) -> TrueBoxes:
        """The boxes of a frame."""
        boxes = {item.name: item.box(seq) for item in self.objects}
        return {name: box for name, box in boxes.items() if box is not None}


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of one scene or clip: of the pipeline's tracker, and of one ByteTrack per class if it is installed."""

    name: str
    frames: int
    ours: TrackScore
    bytetrack: TrackScore | None


class MaskPairs(msgspec.Struct, frozen=True, kw_only=True):
    """Pairs of masks of nearly one extent in a clip, and frames with one: as detected, and as published."""

    detected: int
    detected_frames: int
    published: int
    published_frames: int


class ClipFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A clip; `given` counts all numbers, also those of objects that were not marked."""

    tracks: Compared
    given: int
    given_bytetrack: int | None
    mask_pairs: MaskPairs


class TrackerMs(msgspec.Struct, frozen=True, kw_only=True):
    """Median milliseconds a frame of the drawn scenes; None if it is not installed."""

    ours: float
    bytetrack: float | None


class TracksFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All of one run."""

    machine: Machine
    ms_per_frame: TrackerMs
    scenes: list[Compared]
    clips: list[ClipFigures]


class _Follower(Protocol):
    """A tracker as the pipeline uses it."""

    def follow(self, image: Image, detections: Sequence[Detection], t_ns: int) -> tuple[Detection, ...]:
        """The objects of the next frame."""
        ...


class _Ours:
    """Detect's way from the detector's boxes to objects with numbers."""

    def __init__(self) -> None:
        self._tracker = Tracker(_CONFIDENCE)

    def follow(self, image: Image, detections: Sequence[Detection], t_ns: int) -> tuple[Detection, ...]:
        low = [each for each in detections if each.confidence >= LOW_SHARE * _CONFIDENCE]
        return self._tracker.update(image, merge_boxes(low), t_ns)


class _ByteTrackPerClass:
    """One ByteTrack for each class, from the package `trackers`."""

    def __init__(self) -> None:
        self._make: Any = importlib.import_module("trackers").ByteTrackTracker
        self._trackers: dict[int, Any] = {}
        self._numbers: dict[tuple[int, int], int] = {}

    def follow(self, image: Image, detections: Sequence[Detection], t_ns: int) -> tuple[Detection, ...]:
        confident = [each for each in detections if each.confidence >= _CONFIDENCE]
        objects: list[Detection] = []
        for class_id in sorted({*self._trackers, *(each.class_id for each in confident)}):
            objects += self._update(class_id, [each for each in confident if each.class_id == class_id], t_ns)
        return tuple(objects)

    def _update(self, class_id: int, found: Sequence[Detection], t_ns: int) -> Iterator[Detection]:
        if class_id not in self._trackers:
            self._trackers[class_id] = self._make(
                track_activation_threshold=_CONFIDENCE,
                high_conf_det_threshold=_CONFIDENCE,
                minimum_consecutive_frames=1,
            )
        tracked = self._trackers[class_id].update(
            sv.Detections(
                xyxy=np.array([each.xyxy for each in found], np.float64).reshape(-1, 4),
                confidence=np.array([each.confidence for each in found], np.float64),
                class_id=np.full(len(found), class_id),
                data={"place": np.arange(len(found))},
            ),
            timestamp=t_ns / 1e9,
        )
        for place, own in zip(tracked.data.get("place", ()), tracked.tracker_id, strict=True):
            number = self._numbers.setdefault((class_id, int(own)), len(self._numbers) + 1) if own >= 0 else None
            yield msgspec.structs.replace(found[int(place)], tracker_id=number)


class _Entrant:
    """One tracker on one scene or clip."""

    def __init__(self, follower: _Follower, *, complete: bool) -> None:
        self.spent_ms: list[float] = []
        self.numbers: set[int] = set()
        self._follower = follower
        self._scorer = Scorer(complete=complete)

    def add(self, seq: int, image: Image, detections: Sequence[Detection], truth: TrueBoxes) -> tuple[Detection, ...]:
        """Follow the objects to the next frame, and return them."""
        spent, objects = timed(partial(self._follower.follow, image, detections, seq * _FRAME_NS))
        self.spent_ms.append(spent)
        tracks = {each.tracker_id: each.xyxy for each in objects if each.tracker_id is not None}
        self.numbers |= tracks.keys()
        self._scorer.add(truth, tracks)
        return objects

    def score(self) -> TrackScore:
        """The score of all frames."""
        return self._scorer.score()


def bench_tracks(folder: Path | None, weights: Path | None, report: Report) -> TracksFigures:
    """Measure.

    Args:
        folder: Holds the clips; None takes the test data's, if there are any.
        weights: YOLOX-Nano's; None takes the test data's, or else the official file.
        report: Receives a line before each step.

    Raises:
        DataError: The folder holds none of the clips.
        WeightsError: The weights are missing.
    """
    cv2.setNumThreads(1)
    clips = _clips(folder)
    ours_ms: list[float] = []
    bytetrack_ms: list[float] = []
    scenes = []
    for scene in track_scenes():
        report(f"measuring scene {scene.name}, seed {scene.seed}")
        ours, bytetrack = _Entrant(_Ours(), complete=True), _bytetrack(complete=True)
        for seq, frame in enumerate(scene.frames()):
            for entrant in (ours, bytetrack):
                if entrant is not None:
                    entrant.add(seq, frame.image, frame.detections, frame.truth)
        scenes.append(_compared(f"{scene.name} {scene.seed}", ours, bytetrack))
        ours_ms += ours.spent_ms
        bytetrack_ms += [] if bytetrack is None else bytetrack.spent_ms
    return TracksFigures(
        machine=this_machine(),
        ms_per_frame=TrackerMs(
            ours=statistics.median(ours_ms), bytetrack=statistics.median(bytetrack_ms) if bytetrack_ms else None
        ),
        scenes=scenes,
        clips=[_clip(path, truth, weights, report) for path, truth in clips.items()],
    )


def true_clips() -> list[TrueClip]:
    """The clips whose objects were marked, in every fourth frame where they move fast."""
    return [msgspec.json.decode(path.read_bytes(), type=TrueClip) for path in sorted(_TRUTH.glob("*.json"))]


def _clips(folder: Path | None) -> dict[Path, TrueClip]:
    known = true_clips()
    place = SHARED / "clips" if folder is None else folder
    found = {place / clip.clip: clip for clip in known if (place / clip.clip).is_file()}
    if folder is not None and not found:
        raise DataError(f"{folder} holds none of the clips; expected {' or '.join(clip.clip for clip in known)}")
    return found


def _bytetrack(*, complete: bool) -> _Entrant | None:
    if importlib.util.find_spec("trackers") is None:
        return None
    return _Entrant(_ByteTrackPerClass(), complete=complete)


def _compared(name: str, ours: _Entrant, bytetrack: _Entrant | None) -> Compared:
    return Compared(
        name=name,
        frames=len(ours.spent_ms),
        ours=ours.score(),
        bytetrack=None if bytetrack is None else bytetrack.score(),
    )


def _clip(path: Path, truth: TrueClip, weights: Path | None, report: Report) -> ClipFigures:
    report(f"measuring {path.name}")
    shared = SHARED / "yolox_nano.onnx"
    given = weights or (shared if shared.is_file() else None)
    settings = DetectorSettings(
        model="yolox-nano", weights=None if given is None else str(given), conf=LOW_SHARE * _CONFIDENCE
    )
    detector = create_detector(settings, Compute(threads=1))
    segmenter = create_segmenter(SegmenterSettings(model="nano"), Compute(threads=1))
    ours, bytetrack = _Entrant(_Ours(), complete=False), _bytetrack(complete=False)
    detected, published = [], []
    everything = FileSource(SourceSettings(url=str(path))).frames(0, threading.Event())
    for seq, frame in enumerate(each for each in everything if isinstance(each, Frame)):
        detections, boxes = detector.detect(frame.image), truth.truth(seq)
        objects = ours.add(seq, frame.image, detections, boxes)
        if bytetrack is not None:
            bytetrack.add(seq, frame.image, detections, boxes)
        embedding = segmenter.encode(frame.image)
        confident = [each for each in detections if each.confidence >= _CONFIDENCE]
        masked = [
            [TrackedObject(detection=each, mask=made.mask) for each, made in zip(chosen, masks, strict=True)]
            for chosen in (confident, objects)
            for masks in (segmenter.decode(embedding, chosen),)
        ]
        detected.append(_mask_pairs(masked[0]))
        published.append(_mask_pairs(merge_masks(masked[1])))
    return ClipFigures(
        tracks=_compared(path.stem, ours, bytetrack),
        given=len(ours.numbers),
        given_bytetrack=None if bytetrack is None else len(bytetrack.numbers),
        mask_pairs=MaskPairs(
            detected=sum(detected),
            detected_frames=sum(map(bool, detected)),
            published=sum(published),
            published_frames=sum(map(bool, published)),
        ),
    )


def _mask_pairs(objects: Sequence[TrackedObject]) -> int:
    masks = [item.mask for item in objects if item.mask is not None]
    return sum(one.iou(other) > _SAME_MASK_IOU for one, other in combinations(masks, 2))


def print_tracks(figures: TracksFigures) -> None:
    """Print a table of scores, one of the numbers in each clip, and the times."""
    console = Console()
    scores = Table(
        "scene or clip", "frames", "objects", "tracker", "numbers", "shared", "switches", "fragments", "IDF1"
    )
    numbers = Table("clip", "object", "tracker", "numbers (frames)")
    for each in (*figures.scenes, *(clip.tracks for clip in figures.clips)):
        for tracker, score in (("ours", each.ours), ("bytetrack", each.bytetrack)):
            if score is None:
                continue
            given = {number for several in score.numbers.values() for number in several}
            counts = (len(given), len(score.shared), score.switches, score.fragments)
            name = (each.name, str(each.frames), str(len(score.numbers))) if score is each.ours else ("", "", "")
            scores.add_row(*name, tracker, *map(str, counts), f"{score.idf1:.3f}")
            if each in [clip.tracks for clip in figures.clips]:
                for item, several in score.numbers.items():
                    listed = ", ".join(f"{number} ({frames})" for number, frames in several.items())
                    numbers.add_row(each.name, item, tracker, listed)
    console.print(scores)
    if figures.clips:
        console.print(numbers)
    for clip in figures.clips:
        pairs = clip.mask_pairs
        console.print(
            f"{clip.tracks.name}: {clip.given} numbers given, {clip.given_bytetrack} by bytetrack; pairs of masks "
            f"with an IoU above {_SAME_MASK_IOU}: {pairs.detected} in {pairs.detected_frames} frames detected, "
            f"{pairs.published} in {pairs.published_frames} published"
        )
    ms = figures.ms_per_frame
    beside = "not installed" if ms.bytetrack is None else f"{ms.bytetrack:.2f}"
    console.print(f"tracker, one core, 1280x720, median ms a frame: ours {ms.ours:.2f}, bytetrack {beside}")
    console.print(
        "bytetrack: one per class, boxes of at least 0.25, as the package `trackers` has it, if it is installed"
    )
