"""Gives detections the numbers of their tracks.

Detections are associated over all classes, as a detector changes its mind about an object's class: by place, where an
object is predicted by the optical flow of its pixels or else at constant velocity, and by its colours. As in ByteTrack
(Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022), boxes that are not
confident enough to be objects still continue tracks. A track's class is a vote over its life.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box, overlaps, similar_pairs
from streamseg.messages import Detection, Image
from streamseg.stages.evidence import ColourHistogram, FrameEvidence, Grey
from streamseg.stages.track import SHORTEST_S, Track

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
        for place, track in frame.pairs(fresh, every).items():
            owners[place] = track
            track.update(frame.detections[place], frame.own_colours(place), interval_s)
        boxes = [frame.detections[place].xyxy for place in owners]
        missed = [track for track in confirmed if track.missed_s > 0]
        seen = frame.still_shown(missed, boxes)
        lost = [track for number, track in enumerate(missed) if number not in seen]
        left = [place for place in every if place not in owners and frame.confident(place)]
        for place, track in _pairs(lost, frame.recognised(lost, left)).items():
            owners[place] = track
            track.recover(frame.detections[place])
        left = [place for place in every if place not in owners]
        for place, track in frame.pairs(tentative, left).items():
            owners[place] = track
            track.update(frame.detections[place], frame.own_colours(place), interval_s)
        return owners


class _Frame:
    """The detections of one frame, and how well they fit tracks."""

    def __init__(self, evidence: FrameEvidence, detections: Sequence[Detection], confidence: float) -> None:
        self.detections = detections
        self._evidence = evidence
        self._confident = np.array([each.confidence >= confidence for each in detections], np.bool_)
        self._classes = np.array([each.class_id for each in detections])

    def confident(self, place: int) -> bool:
        """Whether a detection may begin a track."""
        return bool(self._confident[place])

    def colours(self, place: int) -> ColourHistogram:
        """The colours of a detection's box."""
        row: ColourHistogram = self._colours[place]
        return row

    def own_colours(self, place: int) -> ColourHistogram | None:
        """The same; None if another box covers much of it."""
        return None if place in self._crowded else self.colours(place)

    @cached_property
    def _colours(self) -> NDArray[np.float32]:
        return self._evidence.colours([each.xyxy for each in self.detections])

    @cached_property
    def _crowded(self) -> set[int]:
        """The places of the boxes that other boxes cover in much."""
        boxes = [each.xyxy for each in self.detections]
        return {place for place, other in similar_pairs(boxes, boxes, _CROWDED) if place != other}

    def pairs(self, tracks: Sequence[Track], places: Sequence[int]) -> dict[int, Track]:
        """The track of each of these places that continues one."""
        if not tracks or not places:
            return {}
        near = overlaps([track.box for track in tracks], [self.detections[place].xyxy for place in places])
        rows, columns, iou = near.rows, np.array(places)[near.columns], near.iou
        followed = np.array([track.followed for track in tracks], np.bool_)
        fits = iou >= np.where(followed[rows], _FOLLOWED_IOU, _PREDICTED_IOU)
        rows, columns, iou = rows[fits], columns[fits], iou[fits]
        known = np.stack([track.histogram for track in tracks])
        likeness = np.minimum(known[rows], self._colours[columns]).sum(axis=1)
        scores = self._scores(iou, likeness, columns, np.array([track.elected[0] for track in tracks])[rows])
        return _pairs(tracks, zip(scores.tolist(), rows.tolist(), columns.tolist(), strict=True))

    def _scores(
        self,
        iou: NDArray[np.float64],
        likeness: NDArray[np.float32],
        places: NDArray[np.intp],
        classes: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """How well detections fit tracks where these are predicted: 0 if they do not, else up to 1.

        Args:
            iou: Shape (n,): of the boxes of each pair.
            likeness: Shape (n,): overlap of their colours.
            places: Shape (n,): of the detections.
            classes: Shape (n,): of the tracks.
        """
        confident = self._confident[places]
        alike = (iou >= _SAME_IOU) | ((likeness >= _ALIKE) & confident)
        scores = iou * (1 + likeness) / 2 * (alike & ((likeness >= _RECOGNISED) | confident))
        scores *= np.where(classes == self._classes[places], 1.0, _OTHER_CLASS_FACTOR)
        scores *= np.where(confident, 1.0, _LOW_FACTOR)
        return np.asarray(scores, np.float64)

    def recognised(self, lost: Sequence[Track], places: Sequence[int]) -> Iterator[tuple[float, int, int]]:
        """How surely each of the detections is each lost object that can have got there; its number, and the place."""
        if not lost or not places:
            return
        reach = np.array([1 + _FASTEST * track.missed_s for track in lost])[:, None]
        before, now = _placed([track.box for track in lost]), _placed([self.detections[place].xyxy for place in places])
        distance = np.hypot(*(before[:, None, :2] - now[None, :, :2]).transpose(2, 0, 1))
        size, other = before[:, None, 2], now[None, :, 2]
        alike = np.maximum(size, other) <= _LARGEST_RATIO * np.minimum(size, other)
        for row, column in np.argwhere(alike & (distance <= reach * size) & (size > 0)).tolist():
            place, sizes = places[column], distance[row, column] / before[row, 2]
            likeness = lost[row].likeness(self.colours(place))
            yield max(likeness - _ALIKE - _ALIKE_PER_SIZE * sizes, 0.0), row, place

    def still_shown(self, missed: Sequence[Track], found: Sequence[Box]) -> set[int]:
        """Those missed objects that can be seen where flow has followed them, and where no other one was found."""
        taken = {row for row, _ in similar_pairs([track.box for track in missed], found, _SAME_IOU)}
        followed = [number for number, track in enumerate(missed) if track.followed and number not in taken]
        colours = self._evidence.colours([missed[number].box for number in followed])
        return {
            number
            for number, seen in zip(followed, colours, strict=True)
            if missed[number].likeness(seen) >= _RECOGNISED
        }


def _placed(boxes: Sequence[Box]) -> NDArray[np.float64]:
    """The centre of each box, and its size: shape (boxes, 3)."""
    edges = np.array(boxes, np.float64).reshape(-1, 4)
    sides = np.maximum(edges[:, 2:] - edges[:, :2], 0)
    return np.column_stack(((edges[:, :2] + edges[:, 2:]) / 2, np.sqrt(sides.prod(axis=1))))


def _pairs(tracks: Sequence[Track], scored: Iterable[tuple[float, int, int]]) -> dict[int, Track]:
    """The track of each place that has one, by similarity, number of the track and place.

    The most similar pair comes first: two poor ones do not outweigh it.
    """
    free, pairs = set(range(len(tracks))), {}
    for score, number, place in sorted(scored, key=lambda each: -each[0]):
        if score > 0 and number in free and place not in pairs:
            free.remove(number)
            pairs[place] = tracks[number]
    return pairs


def _numbered(detection: Detection, track: Track) -> Detection:
    class_id, class_name = track.elected
    return msgspec.structs.replace(detection, tracker_id=track.number, class_id=class_id, class_name=class_name)
