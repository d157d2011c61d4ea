"""The report of publish on one frame, for tests of `monitor/`."""

from __future__ import annotations

from streamseg.ipc.stage_messages import Published, PublishedMask
from streamseg.messages import Dropped


def published(
    *masks: PublishedMask,
    seq: int = 0,
    source: str = "main",
    age_ms: float = 30.0,
    boxes_seq: int | None = None,
    masks_seq: int | None = None,
    objects: int = 0,
    classes: tuple[str, ...] = (),
    dropped: Dropped | None = None,
    suggestion: str | None = None,
) -> Published:
    return Published(
        source=source,
        seq=seq,
        pts_ns=0,
        age_ms=age_ms,
        boxes_seq=boxes_seq,
        masks_seq=masks_seq,
        objects=objects,
        masks=masks,
        classes=classes,
        dropped=dropped or Dropped(),
        suggestion=suggestion,
    )
