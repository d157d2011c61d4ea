"""Formats figures for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from streamseg.messages import DISCONNECTED, RESTARTING, RUNNING, STARTING, SourceState, TrackedObject
from streamseg.monitor.latency import Percentiles

_STATES: Final = {
    STARTING: "waiting for the first picture of the source",
    DISCONNECTED: "camera disconnected, retrying",
    RESTARTING: "the process that reads the source restarts",
}
_IDLE_S: Final = 2.0
"""Seconds without a picture that need no explanation."""
_LISTED: Final = 24
"""Objects listed in a line: more are no longer read, and the area of a foreign mask may be costly to count."""


def percentiles_text(percentiles: Percentiles | None) -> str:
    """The median and the 99th percentile in milliseconds; a dash for None."""
    return "-" if percentiles is None else f"{percentiles.p50:.1f} / {percentiles.p99:.1f} ms"


def share_text(share: float | None) -> str:
    """A share in per cent; a dash for None."""
    return "-" if share is None else f"{share:.1%}"


def counts_text(counts: Mapping[str, int]) -> str:
    """The names with their counts; those that count 0 are left out, so it may be empty."""
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)


def size_text(size: int) -> str:
    """A number of bytes in kB, MB or GB."""
    if size < 1e6:
        return f"{size / 1e3:.1f} kB"
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def duration_text(seconds: float) -> str:
    """A duration, rounded to minutes or hours."""
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def objects_text(objects: Sequence[TrackedObject]) -> str:
    """Class, track and mask area in pixels of each object, or the method of one without a mask; of the first ones."""
    listed = [_object_text(item) for item in objects[:_LISTED]]
    if len(objects) > _LISTED:
        listed.append(f"and {len(objects) - _LISTED} more")
    return ", ".join(listed) or "no objects"


def _object_text(item: TrackedObject) -> str:
    track = item.detection.tracker_id
    name = item.detection.class_name if track is None else f"{item.detection.class_name}#{track}"
    return f"{name} {item.mask.area if item.mask else item.method}"


def state_text(source: str, state: str) -> str:
    """The state of a source in words."""
    return _STATES.get(state, f"{source}: {state}")


def losses_text(count: int, lost_s: float) -> str:
    """How often a source was disconnected, and for how long in all; empty if it never was."""
    return "" if count == 0 else f"{'once' if count == 1 else f'{count} times'}, {lost_s:.0f} s in all"


def waiting_text(states: Mapping[str, SourceState], idle_s: float, unreachable: str) -> str | None:
    """Why no picture comes; None while there is nothing to say.

    Args:
        states: Of the sources; empty if no pipeline sends anything.
        idle_s: Seconds since the last picture.
        unreachable: What to say without a pipeline.
    """
    wrong = next((each for each in states.values() if each.state != RUNNING), None)
    if wrong is not None:
        text = f"{state_text(wrong.source, wrong.state)} ({idle_s:.0f} s)"
        return f"{text}: {wrong.detail}" if wrong.detail else text
    if idle_s < _IDLE_S:
        return None
    return f"no picture for {idle_s:.0f} s, but the pipeline runs" if states else unreachable
