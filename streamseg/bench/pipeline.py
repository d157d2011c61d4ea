"""What handing frames over costs: from capture's stamp to publish's receipt, beside other ways to do it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import msgspec
import numpy as np
import zmq

from streamseg.config import Config, check_config
from streamseg.errors import StageError
from streamseg.pipeline import Pipeline

_SHAPE = (720, 1280, 3)
_FPS = 30
_WARM_UP = 30


class PipelineFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies in milliseconds at 720p30 with models that find nothing.

    `pipeline`: capture's stamp to the frame's copy in publish, through shared memory. `queue`: the same frames through a
    `multiprocessing.Queue`. `zeromq`: the same frames as raw bytes over a ZeroMQ socket.
    """

    frames: int
    pipeline_p50_ms: float
    pipeline_p99_ms: float
    queue_p50_ms: float
    queue_p99_ms: float
    zeromq_p50_ms: float
    zeromq_p99_ms: float


def bench_pipeline(frames: int = 300) -> PipelineFigures:
    """Measure all three, one after the other.

    Args:
        frames: Frames measured for each, after a second of warm-up.
    """
    own = _percentiles(_pipeline_latencies(frames))
    by_queue = _percentiles(_latencies_in_child(_receive_from_queue, frames))
    by_zeromq = _percentiles(_latencies_in_child(_receive_from_zeromq, frames))
    return PipelineFigures(
        frames=frames,
        pipeline_p50_ms=own[0],
        pipeline_p99_ms=own[1],
        queue_p50_ms=by_queue[0],
        queue_p99_ms=by_queue[1],
        zeromq_p50_ms=by_zeromq[0],
        zeromq_p99_ms=by_zeromq[1],
    )


def _pipeline_latencies(frames: int) -> list[float]:
    with Pipeline(_idle_config()) as pipeline:
        latencies = []
        for result in pipeline:
            if result.ledger.received is None:
                raise StageError("publish gave a frame without a time of receipt")
            latencies.append(result.ledger.received)
            if len(latencies) == _WARM_UP + frames:
                break
    return latencies[_WARM_UP:]


def _idle_config() -> Config:
    height, width, _ = _SHAPE
    return check_config(
        {
            "sources": [{"url": f"synthetic:?size={width}x{height}&fps={_FPS}&frames=0"}],
            "detector": {"model": "fixed", "boxes": [{"xyxy": [-2.0, -2.0, -1.0, -1.0]}]},
            "segmenter": {"model": "grabcut"},
            "publish": {"bind": "tcp://127.0.0.1:*"},
        }
    )


def _latencies_in_child(receive: Callable[[int, Connection], None], frames: int) -> list[float]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=receive, args=(_WARM_UP + frames, there))
    child.start()
    try:
        sender = here.recv()
        for image in _paced_frames(_WARM_UP + frames):
            sender.send(time.monotonic_ns(), image)
        latencies: list[float] = here.recv()
    finally:
        child.join()
    return latencies[_WARM_UP:]


def _paced_frames(count: int) -> Iterator[np.ndarray]:
    image = np.random.default_rng(0).integers(0, 256, _SHAPE, np.uint8)
    start = time.monotonic()
    for index in range(count):
        time.sleep(max(0.0, start + index / _FPS - time.monotonic()))
        yield image
