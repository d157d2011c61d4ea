"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamseg.messages import TrackedObject
from streamseg.monitor.latency import Percentiles


def percentiles_text(percentiles: Percentiles | None) -> str:
    """Percentiles in milliseconds; a dash for none."""
    return "-" if percentiles is None else f"{percentiles.p50:.1f} / {percentiles.p99:.1f} ms"


def share_text(share: float | None) -> str:
    """A share in per cent; a dash for none."""
    return "-" if share is None else f"{share:.1%}"


def counts_text(counts: Mapping[str, int]) -> str:
    """Each name that was counted, with how often."""
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none"


def duration_text(seconds: float) -> str:
    """A time to wait, to the minute."""
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def objects_text(objects: Sequence[TrackedObject]) -> str:
    """Each object's class, track, and mask area in pixels, or why it has no mask."""
    return ", ".join(map(_object_text, objects)) or "no objects"


def _object_text(item: TrackedObject) -> str:
    track = item.detection.tracker_id
    name = item.detection.class_name if track is None else f"{item.detection.class_name}#{track}"
    return f"{name} {item.mask.area if item.mask else item.method}"
