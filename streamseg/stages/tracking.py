"""Gives detections the ids of their tracks."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import supervision as sv
from trackers import ByteTrackTracker

from streamseg.messages import Detection


@dataclass
class _Tracks:
    """The state of tracking.

    Attributes:
        trackers: By class.
        ids: Of living tracks, by class and the tracker's own number.
        highest: The highest id given so far.
    """

    trackers: dict[int, ByteTrackTracker] = field(default_factory=dict)
    ids: dict[tuple[int, int], int] = field(default_factory=dict)
    highest: int = 0


class Tracker:
    """One ByteTrack per class, so that an object never takes over the track of another class.

    ByteTrack: Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022.
    """

    def __init__(self, activation: float) -> None:
        """Track detections with a confidence of at least `activation`."""
        self._activation = activation
        self._tracks = _Tracks()

    def update(self, detections: Sequence[Detection], t_ns: int) -> tuple[Detection, ...]:
        """Give each detection the id of its track, from 1 up and unique in the run.

        Args:
            detections: Of one frame.
            t_ns: Time of the frame; must rise from call to call.
        """
        ids: list[int | None] = [None] * len(detections)
        for class_id in sorted({*self._tracks.trackers, *(detection.class_id for detection in detections)}):
            chosen = [index for index, detection in enumerate(detections) if detection.class_id == class_id]
            for index, local in self._associate(class_id, [detections[index] for index in chosen], t_ns):
                ids[chosen[index]] = self._id(class_id, local)
        self._forget_ended()
        return tuple(
            msgspec.structs.replace(detection, tracker_id=track_id)
            for detection, track_id in zip(detections, ids, strict=True)
        )

    @property
    def highest_id(self) -> int:
        """The highest id given so far, 0 before the first."""
        return self._tracks.highest

    def state(self) -> bytes:
        """The whole state, for `restore` in a process that takes over.

        It is pickled, as ByteTrack offers nothing else: restore only what a process of the same run wrote.
        """
        return pickle.dumps(self._tracks, pickle.HIGHEST_PROTOCOL)

    def restore(self, state: bytes) -> None:
        """Continue from `state`, which a process of the same run made."""
        self._tracks = pickle.loads(state)

    def _associate(self, class_id: int, detections: Sequence[Detection], t_ns: int) -> list[tuple[int, int]]:
        tracker = self._tracks.trackers.get(class_id)
        if tracker is None:
            tracker = self._tracks.trackers[class_id] = ByteTrackTracker(
                track_activation_threshold=self._activation,
                high_conf_det_threshold=self._activation,
                minimum_consecutive_frames=1,
            )
        found = sv.Detections(
            xyxy=np.array([detection.xyxy for detection in detections], dtype=np.float64).reshape(-1, 4),
            confidence=np.array([detection.confidence for detection in detections], dtype=np.float64),
            class_id=np.full(len(detections), class_id),
            data={"index": np.arange(len(detections))},
        )
        tracked = tracker.update(found, timestamp=t_ns / 1e9)
        if tracked.tracker_id is None or "index" not in tracked.data:
            return []
        pairs = zip(tracked.data["index"], tracked.tracker_id, strict=True)
        return [(int(index), int(local)) for index, local in pairs if local >= 0]

    def _forget_ended(self) -> None:
        trackers = {class_id: tracker for class_id, tracker in self._tracks.trackers.items() if tracker.tracks}
        alive = {(class_id, track.tracker_id) for class_id, tracker in trackers.items() for track in tracker.tracks}
        self._tracks.trackers = trackers
        self._tracks.ids = {key: track_id for key, track_id in self._tracks.ids.items() if key in alive}

    def _id(self, class_id: int, local: int) -> int:
        key = (class_id, local)
        if key not in self._tracks.ids:
            self._tracks.highest += 1
            self._tracks.ids[key] = self._tracks.highest
        return self._tracks.ids[key]
