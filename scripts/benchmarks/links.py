"""Cost of moving frames between processes: the pipeline's shared memory beside a queue and ZeroMQ."""

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
from streamseg.config import check_config
from streamseg.errors import StageError
from streamseg.messages import Image
from streamseg.pipeline import Pipeline

_SHAPE = (720, 1280, 3)
_FPS = 30
_WARM_UP = 30


class LinkFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies at 1280x720 and 30 frames a second, with models that find nothing.

    Attributes:
        frames: Frames measured for each.
        pipeline_p50_ms: From capture to the announcement at publish, through shared memory.
        picture_p50_ms: From capture until publish copied the pixels, which it does only if a subscriber needs pictures.
        queue_p50_ms: Through a `multiprocessing.Queue`.
        zeromq_p50_ms: As raw bytes over a ZeroMQ socket.
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
    """Measure the four one after the other, each after a second of warm-up."""
    latencies = (
        ("pipeline", _pipeline_latencies_ms(frames, with_picture=False)),
        ("picture", _pipeline_latencies_ms(frames, with_picture=True)),
        ("queue", _queue_latencies_ms(frames)),
        ("zeromq", _zeromq_latencies_ms(frames)),
    )
    found = {
        f"{name}_p{percent}_ms": float(np.percentile(values, percent))
        for name, values in latencies
        for percent in (50, 99)
    }
    return LinkFigures(frames=frames, **found)


def _pipeline_latencies_ms(frames: int, *, with_picture: bool) -> list[float]:
    height, width, _ = _SHAPE
    config = check_config(
        {
            "sources": [{"url": f"synthetic:?size={width}x{height}&fps={_FPS}&frames=0"}],
            "detector": {"model": "fixed", "boxes": [{"xyxy": [-2.0, -2.0, -1.0, -1.0]}]},
            "segmenter": {"model": "nano"},
            "publish": {"bind": "tcp://127.0.0.1:*"},
        }
    )
    latencies: list[float] = []
    with ExitStack() as stack:
        pipeline = stack.enter_context(Pipeline(config))
        if with_picture:
            stack.enter_context(Subscriber(pipeline.endpoint, source="main", view="clean", queue=1))
        for result in pipeline:
            if result.timings.received is None:
                raise StageError("publish sent a frame without its time of receipt")
            latencies.append(result.timings.received)
            if len(latencies) == _WARM_UP + frames:
                break
    return latencies[_WARM_UP:]


def _queue_latencies_ms(frames: int) -> list[float]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    here, there = context.Pipe()
    child = context.Process(target=_receive_from_queue, args=(_WARM_UP + frames, queue, there))
    return _latencies_ms(child, here, frames, lambda stamp_ns, image: queue.put((stamp_ns, image)))


def _zeromq_latencies_ms(frames: int) -> list[float]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with zmq.Context() as zmq_context, zmq_context.socket(zmq.PUSH) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        child = context.Process(target=_receive_from_zeromq, args=(_WARM_UP + frames, port, there))
        return _latencies_ms(
            child,
            here,
            frames,
            lambda stamp_ns, image: socket.send_multipart([str(stamp_ns).encode(), image.tobytes()]),
        )


def _latencies_ms(
    child: SpawnProcess, here: Connection, frames: int, send: Callable[[int, Image], object]
) -> list[float]:
    """Send frames at their rate; the child reports first that it is ready, and at the end the latency of each frame."""
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


def _receive_from_queue(count: int, queue: Queue[tuple[int, Image]], there: Connection) -> None:
    there.send("ready")
    latencies = []
    for _ in range(count):
        stamp_ns, _image = queue.get()
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
            latencies.append((time.monotonic_ns() - int(stamp)) / 1e6)
    there.send(latencies)
