"""Which objects a frame propagates when there is no time for all: the others are only moved, and have their turn later.

Every object's urgency grows with each frame that it waits, so none waits for ever. It grows faster for objects that
matter more to people who watch: large ones, sure ones, near ones; and for those whose masks need it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from streamseg.propagate.track import Track

_NEW = 30
"""Frames that an object counts as having waited when it appears: it gets its first turn before most others."""
_LARGE = 1 / 16
"""Share of the frame from which on an object counts as large."""
_LARGE_WEIGHT = 2.0
"""How much faster a large object gets its turn. Chosen by hand."""
_WITHOUT_MASK = 0.5
"""The same for one without a mask: it only shows its motion, which a late mask needs. Chosen by hand."""
_WITH_NEW_MASK = 2.0
"""How much faster an object gets its turn when the segmenter has made a mask of it. Chosen by hand."""


def choose(
    tracks: Sequence[Track], seq: int, most: int | None, width: int, height: int, first: Collection[Track] = ()
) -> list[Track]:
    """The objects that frame `seq` propagates, in their order.

    Args:
        tracks: All objects.
        seq: The frame.
        most: How many it propagates at most; None for all.
        width: Of the frame, in pixels.
        height: Of the frame, in pixels.
        first: Objects for which some of the work is done already.
    """
    if most is None or len(tracks) <= most:
        return list(tracks)
    urgency = _urgencies(tracks, seq, width, height)
    urgent = sorted(range(len(tracks)), key=lambda place: (tracks[place] not in first, -urgency[place]))
    return [tracks[place] for place in sorted(urgent[:most])]


def _urgencies(tracks: Sequence[Track], seq: int, width: int, height: int) -> list[float]:
    boxes = np.array([track.detection.xyxy for track in tracks])
    waited = np.array([_NEW if track.propagated_seq is None else seq - track.propagated_seq for track in tracks])
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    large = np.minimum(np.sqrt(sides[:, 0] * sides[:, 1] / (width * height) / _LARGE), 1)
    near = np.clip(boxes[:, 3] / height, 0, 1)  # cameras look down
    weight = _LARGE_WEIGHT * large + (near + np.array([track.detection.confidence for track in tracks])) / 2
    weight += np.array([_need(track) for track in tracks])
    shown = np.array([track.shown is not None for track in tracks])
    urgencies: list[float] = (waited * (1 + weight) * np.where(shown, 1, _WITHOUT_MASK)).tolist()
    return urgencies


def _need(track: Track) -> float:
    """How much its mask needs a turn."""
    if track.pending is not None:
        return _WITH_NEW_MASK
    return 0.0 if track.mask is None else 1 - track.expected_iou
