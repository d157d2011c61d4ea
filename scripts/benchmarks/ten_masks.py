"""The result that the wire and overlay benchmarks use: a frame with ten masks."""

from __future__ import annotations

import numpy as np

from streamseg.masks import Mask
from streamseg.messages import Detection, Dropped, Models, Timings, TrackedObject
from streamseg.result import Result


def ten_masks() -> Result:
    """Make the result of a frame of 1280x720 with ten blobs of two to five lobes, each of 200x300 pixels.

    The blobs are smooth, as masks of a segmenter are, and overlap; the uppermost has room for its label.
    """
    return Result(
        run_id="bench",
        epoch=0,
        seq=0,
        source="bench",
        width=1280,
        height=720,
        pts_ns=0,
        t_capture_unix_ns=0,
        timings=Timings(received=0.4, detected=9.6, encoded=310.2, decoded=320.9, published=10.5),
        dropped=Dropped(),
        models=Models(detector="yolox-nano", segmenter="mobilesam"),
        boxes_seq=0,
        objects=tuple(_blob(index) for index in range(10)),
    )


def _blob(index: int) -> TrackedObject:
    rows, columns = np.mgrid[-1:1:300j, -1:1:200j]
    angle = np.arctan2(rows, columns)
    radius = 0.9 + 0.1 * np.sin((2 + index % 4) * angle + index)
    bits = np.hypot(rows, columns) < radius
    bits[0, 100] = bits[-1, 100] = bits[150, 0] = bits[150, -1] = True
    x, y = 100 * index, 30 + 40 * index
    return TrackedObject(
        detection=Detection(
            xyxy=(x + 0.25, y + 0.5, x + 199.5, y + 299.75),
            confidence=0.9 - 0.05 * index,
            class_id=0,
            class_name="person",
            tracker_id=index + 1,
        ),
        mask=Mask(x, y, bits),
        method="mobilesam",
        origin_seq=0,
        age_ms=33.4,
        predicted_iou=0.93,
        stability=0.95,
    )
