"""What handing frames over costs: from capture's stamp to publish's receipt, beside other ways to do it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue

import msgspec
import numpy as np
import zmq

from streamseg.client import Subscriber
from streamseg.config import Config, check_config
from streamseg.errors import StageError
from streamseg.messages import Image
from streamseg.pipeline import Pipeline

_SHAPE = (720, 1280, 3)
_FPS = 30
_WARM_UP = 30


class LinkFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies in milliseconds at 720p30 with models that find nothing.

    `pipeline`: capture's stamp to publish's receipt, through shared memory. `picture`: the same until the frame's pixels have
    been copied, which publish only does where somebody wants to see them. `queue`: the same frames through a
    `multiprocessing.Queue`. `zeromq`: the same frames as raw bytes over a ZeroMQ socket.
    """

    frames: int
    pipeline_p50_ms: float
    pipeline_p99_ms: float
    picture_p50_ms: float
    picture_p99_ms: float
    queue_p50_ms: float
    queue_p99_ms: float
    zeromq_p50_ms: float
    zeromq_p99_ms: float


def bench_links(frames: int = 300) -> LinkFigures:
    """Measure all four, one after the other.

    Args:
        frames: Frames measured for each, after a second of warm-up.
    """
    own = _percentiles(_pipeline_latencies(frames, with_picture=False))
    picture = _percentiles(_pipeline_latencies(frames, with_picture=True))
    by_queue = _percentiles(_queue_latencies(frames))
    by_zeromq = _percentiles(_zeromq_latencies(frames))
    return LinkFigures(
        frames=frames,
        pipeline_p50_ms=own[0],
        pipeline_p99_ms=own[1],
        picture_p50_ms=picture[0],
        picture_p99_ms=picture[1],
        queue_p50_ms=by_queue[0],
        queue_p99_ms=by_queue[1],
        zeromq_p50_ms=by_zeromq[0],
        zeromq_p99_ms=by_zeromq[1],
    )


def _pipeline_latencies(frames: int, *, with_picture: bool) -> list[float]:
    with ExitStack() as stack:
        pipeline = stack.enter_context(Pipeline(_idle_config()))
        if with_picture:
            stack.enter_context(Subscriber(pipeline.endpoint, source="main", view="clean", queue=1))
        latencies = []
        for result in pipeline:
            if result.timings.received is None:
                raise StageError("publish gave a frame without a time of receipt")
            latencies.append(result.timings.received)
            if len(latencies) == _WARM_UP + frames:
                break
    return latencies[_WARM_UP:]


def _idle_config() -> Config:
    height, width, _ = _SHAPE
    return check_config(
        {
            "sources": [{"url": f"synthetic:?size={width}x{height}&fps={_FPS}&frames=0"}],
            "detector": {"model": "fixed", "boxes": [{"xyxy": [-2.0, -2.0, -1.0, -1.0]}]},
            "segmenter": {"model": "nano"},
            "publish": {"bind": "tcp://127.0.0.1:*"},
        }
    )


def _queue_latencies(frames: int) -> list[float]:
    context = multiprocessing.get_context("spawn")
    frames_queue = context.Queue()
    here, there = context.Pipe()
    child = context.Process(target=_receive_from_queue, args=(_WARM_UP + frames, frames_queue, there))
    return _latencies(child, here, frames, lambda stamp_ns, image: frames_queue.put((stamp_ns, image)))


def _zeromq_latencies(frames: int) -> list[float]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with zmq.Context() as zmq_context, zmq_context.socket(zmq.PUSH) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        child = context.Process(target=_receive_from_zeromq, args=(_WARM_UP + frames, port, there))
        return _latencies(
            child,
            here,
            frames,
            lambda stamp_ns, image: socket.send_multipart([stamp_ns.to_bytes(8, "little"), image.tobytes()]),
        )


def _latencies(child: SpawnProcess, here: Connection, frames: int, send: Callable[[int, Image], object]) -> list[float]:
    """Send frames at their rate to a child that says first that it is ready, and in the end how late each frame came."""
    child.start()
    try:
        here.recv()
        image = np.random.default_rng(0).integers(0, 256, _SHAPE, np.uint8)
        start = time.monotonic()
        for index in range(_WARM_UP + frames):
            time.sleep(max(0.0, start + index / _FPS - time.monotonic()))
            send(time.monotonic_ns(), image)
        latencies: list[float] = here.recv()
    finally:
        child.join()
    return latencies[_WARM_UP:]


def _receive_from_queue(count: int, frames_queue: Queue[tuple[int, Image]], there: Connection) -> None:
    there.send("ready")
    latencies = []
    for _ in range(count):
        stamp_ns, _image = frames_queue.get()
        latencies.append((time.monotonic_ns() - stamp_ns) / 1e6)
    there.send(latencies)


def _receive_from_zeromq(count: int, port: int, there: Connection) -> None:
    latencies = []
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.connect(f"tcp://127.0.0.1:{port}")
        there.send("ready")
        for _ in range(count):
            stamp, pixels = socket.recv_multipart()
            np.frombuffer(pixels, np.uint8).reshape(_SHAPE)
            latencies.append((time.monotonic_ns() - int.from_bytes(stamp, "little")) / 1e6)
    there.send(latencies)


def _percentiles(latencies: list[float]) -> tuple[float, float]:
    return float(np.percentile(latencies, 50)), float(np.percentile(latencies, 99))
