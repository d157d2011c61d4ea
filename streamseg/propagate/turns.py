"""Which objects a frame propagates when there is no time for all: the others are only moved, and have their turn later.

Every object's urgency grows with each frame that it waits, so none waits for ever. It grows faster for objects that
matter more to people who watch: large ones, sure ones, near ones; and for those whose masks need it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from streamseg.geometry import box_area
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
    urgent = sorted(tracks, key=lambda track: (track not in first, -_urgency(track, seq, width, height)))
    chosen = set(urgent[:most])
    return [track for track in tracks if track in chosen]


def _urgency(track: Track, seq: int, width: int, height: int) -> float:
    waited = _NEW if track.propagated_seq is None else seq - track.propagated_seq
    box = track.detection.xyxy
    large = min(math.sqrt(box_area(box) / (width * height) / _LARGE), 1.0)
    near = min(max(box[3] / height, 0.0), 1.0)  # cameras look down
    weight = _LARGE_WEIGHT * large + (near + track.detection.confidence) / 2
    if track.pending is not None:
        weight += _WITH_NEW_MASK
    elif track.mask is not None:
        weight += 1 - track.expected_iou
    return waited * (1 + weight if track.shown is not None else _WITHOUT_MASK * (1 + weight))
