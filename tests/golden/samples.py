"""The results from which the golden vectors are made."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np

from streamseg.masks import Mask
from streamseg.messages import (
    NONE,
    PROPAGATED,
    REFINED,
    SEGMENTED,
    Detection,
    Dropped,
    Models,
    ResultMessage,
    Timings,
    TrackedObject,
)

# A grey picture of 8x8 pixels.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdA"
    "SFxOQERXRTc4UG1RV19iZ2hnPk1xeXBkeFxlZ2P/"
    "wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
)


def full_result() -> ResultMessage:
    small = Mask.crop(np.array([[0, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 1]]), x=12, y=8)
    rows, columns = np.mgrid[:48, :64]
    disc = Mask.crop((rows - 24) ** 2 + (columns - 40) ** 2 < 400)
    return ResultMessage(
        run_id="r1",
        epoch=1,
        seq=41,
        source="cam",
        width=64,
        height=48,
        pts_ns=1_366_700_000,
        t_capture_unix_ns=1_700_000_000_123_456_789,
        timings=Timings(received=0.5, detected=9.25, decoded=410.0, published=10.125),
        dropped=Dropped(segment_replaced=17, masks_limited=2),
        models=Models(
            detector="yolox-nano", segmenter="nano", notice="no weights of MobileSAM: the network is unreachable"
        ),
        boxes_seq=40,
        mode="live",
        objects=(
            tracked(mask=small, method=REFINED, origin_seq=38, age_ms=100.0),
            tracked(
                mask=disc,
                method=PROPAGATED,
                origin_seq=20,
                age_ms=700.5,
                tracker_id=None,
                predicted_iou=0.875,
                stability=0.9375,
                colour="#2dd2ff",
            ),
            tracked(method="pending"),
            tracked(method=NONE, class_name='a "quoted" näme', confidence=1.0),
        ),
    )


def empty_result() -> ResultMessage:
    return replace(full_result(), seq=0, boxes_seq=None, objects=())


def tracked(
    *,
    mask: Mask | None = None,
    method: str = SEGMENTED,
    origin_seq: int | None = None,
    age_ms: float = 0.0,
    tracker_id: int | None = 3,
    class_name: str = "cup",
    confidence: float = 0.75,
    predicted_iou: float | None = None,
    stability: float | None = None,
    colour: str | None = None,
) -> TrackedObject:
    return TrackedObject(
        detection=Detection(
            xyxy=(-1.5, 8.0, 17.25, 11.0),
            confidence=confidence,
            class_id=41,
            class_name=class_name,
            tracker_id=tracker_id,
        ),
        mask=mask,
        method=method,
        origin_seq=origin_seq,
        age_ms=age_ms,
        predicted_iou=predicted_iou,
        stability=stability,
        colour=colour,
    )


def stripes(width: int) -> Mask | None:
    return Mask.crop(np.array([[(column + row) % 2 == 0 or row == 1 for column in range(width)] for row in range(3)]))
