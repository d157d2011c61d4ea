"""Formats figures for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamseg.messages import TrackedObject
from streamseg.monitor.latency import Percentiles


def percentiles_text(percentiles: Percentiles | None) -> str:
    """The median and the 99th percentile in milliseconds; a dash for None."""
    return "-" if percentiles is None else f"{percentiles.p50:.1f} / {percentiles.p99:.1f} ms"


def share_text(share: float | None) -> str:
    """A share in per cent; a dash for None."""
    return "-" if share is None else f"{share:.1%}"


def counts_text(counts: Mapping[str, int]) -> str:
    """The names with their counts; those that count 0 are left out."""
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none"


def duration_text(seconds: float) -> str:
    """A duration, rounded to minutes or hours."""
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def objects_text(objects: Sequence[TrackedObject]) -> str:
    """Class, track and mask area in pixels of each object, or the method of one without a mask."""
    return ", ".join(map(_object_text, objects)) or "no objects"


def _object_text(item: TrackedObject) -> str:
    track = item.detection.tracker_id
    name = item.detection.class_name if track is None else f"{item.detection.class_name}#{track}"
    return f"{name} {item.mask.area if item.mask else item.method}"
