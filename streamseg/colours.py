"""The colours of objects: which there are, and which object has which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from streamseg.messages import TrackedObject

PALETTE: Final = (
    "#2dd2ff", "#873c2d", "#001eff", "#e1ff3c", "#1eb40f", "#0087b4", "#00c3a5", "#00ffff",
    "#6978ff", "#960f78", "#b4f0a5", "#1e5ab4", "#966900", "#b4d22d", "#1e9678", "#4ba5e1",
    "#00e1d2", "#87d287", "#0f785a", "#2da55a", "#2d78d2", "#3ca5b4", "#d22de1", "#a500a5",
    "#1ec369", "#c30f87", "#3cc3d2", "#d2e169", "#3c874b", "#96f0d2", "#ff0f96", "#c3ff87",
)  # fmt: skip
"""Colours as `#rrggbb`, made to differ for eyes that see red and green alike too.

Any two of the first `FIRST_CHOICE` are at least 0.107 apart in OKLab, any two of all 0.058. One sees 0.02.
"""
FIRST_CHOICE: Final = 16
"""Number of colours used as long as there are no more objects in the picture."""
_NEVER = -1


def default_colour(item: TrackedObject) -> str:
    """The colour of an object that has none, from its track or else its class: two objects may have the same."""
    detection = item.detection
    return PALETTE[(detection.class_id if detection.tracker_id is None else detection.tracker_id) % len(PALETTE)]


class _State(msgspec.Struct):
    """Which colour of the palette each holder has, and the frame on which each colour was last seen."""

    held: dict[int, int]
    last_seqs: list[int]


class Colours:
    """Gives the objects of one source their colours.

    A track keeps its colour. Objects in the same picture have different ones while the palette has enough. A new track
    gets the colour that was out of the picture longest, so that a track that returns still finds its own.
    """

    def __init__(self, state: bytes | None = None) -> None:
        """Begin without any object, or with the `state` of earlier colours of the same run."""
        saved = _State({}, [_NEVER] * len(PALETTE)) if state is None else msgspec.msgpack.decode(state, type=_State)
        self._held = saved.held
        self._last_seqs = saved.last_seqs

    def state(self) -> bytes:
        """All of it, for the process that takes over."""
        return msgspec.msgpack.encode(_State(self._held, self._last_seqs))

    def give(self, objects: Sequence[TrackedObject], seq: int) -> bool:
        """Give a colour to each object of frame `seq` that has none; whether there was one."""
        shown = dict.fromkeys(map(_holder, objects))
        new = [holder for holder in shown if holder not in self._held]
        uses = Counter(self._held[holder] for holder in shown if holder in self._held)
        for holder in new:
            colour = min(range(len(PALETTE)), key=lambda index: self._rank(index, uses))
            for other in [other for other, held in self._held.items() if held == colour and other not in shown]:
                del self._held[other]
            self._held[holder] = colour
            uses[colour] += 1
        for colour in uses:
            self._last_seqs[colour] = seq
        return bool(new)

    def apply(self, objects: Sequence[TrackedObject]) -> tuple[TrackedObject, ...]:
        """The objects with their colours, after `give`."""
        return tuple(item.with_colour(PALETTE[self._held[_holder(item)]]) for item in objects)

    def _rank(self, index: int, uses: Counter[int]) -> tuple[int, bool, int]:
        """Sort key of a colour for a new object, the best first."""
        return uses[index], index >= FIRST_CHOICE, self._last_seqs[index]


def _holder(item: TrackedObject) -> int:
    """What holds a colour: the number of a track, or a negative number for all objects of a class without a track."""
    detection = item.detection
    return -1 - detection.class_id if detection.tracker_id is None else detection.tracker_id
