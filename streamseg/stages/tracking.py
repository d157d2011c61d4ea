"""Gives detections the numbers of their tracks.

Detections are associated over all classes, as a detector changes its mind about an object's class: by place, where an
object is predicted by the optical flow of its pixels or else at constant velocity, and by its colours. As in ByteTrack
(Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022), boxes that are not
confident enough to be objects still continue tracks. A track's class is a vote over its life.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np

from streamseg.geometry import Box, box_area, box_iou
from streamseg.messages import Detection, Image
from streamseg.stages.evidence import ColourHistogram, FrameEvidence, Grey
from streamseg.stages.track import SHORTEST_S, Track, offset

LOW_SHARE: Final = 0.4
"""Least confidence of a box that continues a track, as a share of one that begins a track. ByteTrack's 0.1 of 0.25."""
_CONFIRMING = 3
"""Boxes that confirm a track. SORT's."""
_FRESH_S = 0.5
"""Seconds for which the prediction of a missed object is good, and within which the next box confirms a new one. Chosen
by hand."""
_REMEMBERED_S = 5.0
"""Seconds after which a lost object is forgotten. Chosen by hand."""
_SAME_IOU = 0.5
"""IoU of a box with the predicted one that shows the same object on its own. ByteTrack's."""
_FOLLOWED_IOU = 0.3
"""Least IoU if flow has shown where the object is. With 0.5, drawn objects behind a wall are lost."""
_PREDICTED_IOU = 0.2
"""Least IoU if it has not. ByteTrack's."""
_LOW_FACTOR = 0.8
"""By which a box of low confidence counts less: a confident one beside it is the object's. Chosen by hand."""
_OTHER_CLASS_FACTOR = 0.9
"""By which a box of another class than the track's counts less. Chosen by hand."""
_RECOGNISED = 0.8
"""Overlap of colours that shows the same object: 95% of objects have it after ten frames (eight sequences of DAVIS),
and a fifth of the pairs of neighbours of one class (COCO)."""
_ALIKE = 0.5
"""Least overlap of colours for a lost object and for a box below `_SAME_IOU`: half of the neighbours have less."""
_ALIKE_PER_SIZE = 0.1
"""By which it rises with each size of the object between the two places. Chosen by hand."""
_FASTEST = 5.0
"""Sizes of an object by which it moves at most in a second while it is lost: a runner, or a car in a town."""
_LARGEST_RATIO = 1.5
"""By which its size changes at most meanwhile. Chosen by hand."""
_CROWDED = 0.3
"""IoU with another box from which on the colours of a box are not only its own. Chosen by hand."""


class _State(msgspec.Struct):
    """The state of tracking.

    Attributes:
        tracks: In the order of their first frames.
        highest: The highest number given so far.
        t_ns: Time of the newest frame.
        grey: Pixels of the newest frame, reduced, for flow.
        rows: Height of `grey`.
    """

    tracks: list[Track] = []
    highest: int = 0
    t_ns: int = 0
    grey: bytes = b""
    rows: int = 0


class Tracker:
    """Follows the objects of one source.

    Each detection goes to the track to which it is most similar, the most similar pairs first. Confirmed tracks come
    before new ones. A confident detection that is left may be a lost object. If not, it begins a track, which has no
    number before its third box.
    """

    def __init__(self, confidence: float) -> None:
        """Begin tracks with detections of at least that confidence."""
        self._confidence = confidence
        self._state = _State()

    def update(self, image: Image, detections: Sequence[Detection], t_ns: int) -> tuple[Detection, ...]:
        """Give each detection the number and the class of its track.

        Args:
            image: The frame, shape (height, width, 3), uint8, BGR.
            detections: Of the frame, also those of only `LOW_SHARE` of the confidence.
            t_ns: Time of the frame; must not fall from call to call.

        Returns:
            The confident detections, and those of lower confidence that continue a track, in their order. Numbers are
            from 1 up and unique in the run; None before a track is confirmed.
        """
        evidence = FrameEvidence(image)
        self._predict(evidence, t_ns)
        frame = _Frame(evidence, detections, self._confidence)
        interval_s = max((t_ns - self._state.t_ns) / 1e9, SHORTEST_S)
        fresh_s = min(max(2 * interval_s, _FRESH_S), _REMEMBERED_S)
        owners = self._associate(frame, interval_s, fresh_s)
        for place, detection in enumerate(detections):
            if frame.confident(place) and place not in owners:
                owners[place] = Track.begin(detection, frame.colours(place), t_ns)
                self._state.tracks.append(owners[place])
            elif frame.confident(place) and owners[place].number is None and owners[place].boxes >= _CONFIRMING:
                self._state.highest += 1
                owners[place].number = self._state.highest
        self._state.tracks = [
            track
            for track in self._state.tracks
            if track.missed_s <= (fresh_s if track.number is None else _REMEMBERED_S)
        ]
        self._state.t_ns = t_ns
        self._state.grey, self._state.rows = evidence.grey.tobytes(), evidence.grey.shape[0]
        return tuple(
            _numbered(detection, owners[place])
            for place, detection in enumerate(detections)
            if place in owners and (frame.confident(place) or owners[place].number is not None)
        )

    @property
    def highest_id(self) -> int:
        """The highest number given so far, 0 before the first."""
        return self._state.highest

    def state(self) -> bytes:
        """The whole state, for `restore` in a process that takes over."""
        return msgspec.msgpack.encode(self._state)

    def restore(self, state: bytes) -> None:
        """Continue from `state`."""
        self._state = msgspec.msgpack.decode(state, type=_State)

    def _predict(self, evidence: FrameEvidence, t_ns: int) -> None:
        before: Grey | None = None
        if self._state.rows:
            before = np.frombuffer(self._state.grey, np.uint8).reshape(self._state.rows, -1)
        motions = evidence.motions(before, [track.box for track in self._state.tracks])
        for track, motion in zip(self._state.tracks, motions, strict=True):
            track.predict(t_ns, motion)

    def _associate(self, frame: _Frame, interval_s: float, fresh_s: float) -> dict[int, Track]:
        """The track of each detection that continues one, by the detection's place. Updates the tracks."""
        confirmed = [track for track in self._state.tracks if track.number is not None]
        tentative = [track for track in self._state.tracks if track.number is None]
        fresh = [track for track in confirmed if track.followed or track.missed_s <= fresh_s]
        owners = {}
        every = range(len(frame.detections))
        for place, track in _pairs(fresh, every, frame.similarity).items():
            owners[place] = track
            track.update(frame.detections[place], frame.own_colours(place), interval_s)
        boxes = [frame.detections[place].xyxy for place in owners]
        lost = [track for track in confirmed if track.missed_s > 0 and not frame.still_shows(track, boxes)]
        left = [place for place in every if place not in owners and frame.confident(place)]
        for place, track in _pairs(lost, left, frame.recognition).items():
            owners[place] = track
            track.recover(frame.detections[place])
        left = [place for place in every if place not in owners]
        for place, track in _pairs(tentative, left, frame.similarity).items():
            owners[place] = track
            track.update(frame.detections[place], frame.own_colours(place), interval_s)
        return owners


class _Frame:
    """The detections of one frame, and how well they fit tracks."""

    def __init__(self, evidence: FrameEvidence, detections: Sequence[Detection], confidence: float) -> None:
        self.detections = detections
        self._evidence = evidence
        self._confidence = confidence
        self._colours: dict[int, ColourHistogram] = {}

    def confident(self, place: int) -> bool:
        """Whether a detection may begin a track."""
        return self.detections[place].confidence >= self._confidence

    def colours(self, place: int) -> ColourHistogram:
        """The colours of a detection's box."""
        if place not in self._colours:
            self._colours[place] = self._evidence.colours(self.detections[place].xyxy)
        return self._colours[place]

    def own_colours(self, place: int) -> ColourHistogram | None:
        """The same; None if another box covers much of it."""
        box = self.detections[place].xyxy
        others = (each.xyxy for number, each in enumerate(self.detections) if number != place)
        return None if any(box_iou(box, other) > _CROWDED for other in others) else self.colours(place)

    def similarity(self, track: Track, place: int) -> float:
        """How well a detection fits a track where it is predicted: 0 if it does not, else up to 1."""
        detection = self.detections[place]
        iou = box_iou(track.box, detection.xyxy)
        if iou < (_FOLLOWED_IOU if track.followed else _PREDICTED_IOU):
            return 0.0
        likeness, confident = track.likeness(self.colours(place)), self.confident(place)
        if iou < _SAME_IOU and (likeness < _ALIKE or not confident):
            return 0.0
        if likeness < _RECOGNISED and not confident:
            return 0.0
        class_factor = 1.0 if track.elected[0] == detection.class_id else _OTHER_CLASS_FACTOR
        return iou * (1 + likeness) / 2 * class_factor * (1.0 if confident else _LOW_FACTOR)

    def recognition(self, track: Track, place: int) -> float:
        """How surely a detection is a lost object: 0 if it is not."""
        box = self.detections[place].xyxy
        size, other = math.sqrt(box_area(track.box)), math.sqrt(box_area(box))
        if max(size, other) > _LARGEST_RATIO * min(size, other):
            return 0.0
        distance = math.hypot(*offset(track.box, box)) / size
        if distance > 1 + _FASTEST * track.missed_s:
            return 0.0
        return max(track.likeness(self.colours(place)) - _ALIKE - _ALIKE_PER_SIZE * distance, 0.0)

    def still_shows(self, track: Track, found: Sequence[Box]) -> bool:
        """Whether a missed object can be seen where flow has followed it, and not another one that was found there."""
        if not track.followed or any(box_iou(track.box, box) > _SAME_IOU for box in found):
            return False
        return track.likeness(self._evidence.colours(track.box)) >= _RECOGNISED


def _pairs(
    tracks: Sequence[Track], places: Sequence[int], similarity: Callable[[Track, int], float]
) -> dict[int, Track]:
    """The track of each place that has one. The most similar pair comes first: two poor ones do not outweigh it."""
    scored = [(similarity(track, place), number, place) for number, track in enumerate(tracks) for place in places]
    free, pairs = set(range(len(tracks))), {}
    for score, number, place in sorted(scored, key=lambda each: -each[0]):
        if score > 0 and number in free and place not in pairs:
            free.remove(number)
            pairs[place] = tracks[number]
    return pairs


def _numbered(detection: Detection, track: Track) -> Detection:
    class_id, class_name = track.elected
    return msgspec.structs.replace(detection, tracker_id=track.number, class_id=class_id, class_name=class_name)
