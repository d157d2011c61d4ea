"""A result without objects, from which tests make theirs with `dataclasses.replace`."""

from __future__ import annotations

from streamseg.messages import Dropped, Models, ResultMessage, Timings

EMPTY_RESULT = ResultMessage(
    run_id="run",
    epoch=0,
    seq=0,
    source="cam",
    width=64,
    height=48,
    pts_ns=0,
    t_capture_unix_ns=0,
    timings=Timings(),
    dropped=Dropped(),
    models=Models(detector="motion", segmenter="nano"),
    boxes_seq=None,
    objects=(),
)
