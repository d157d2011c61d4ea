"""What the models of the SAM family weigh, beside what was published, and what they cost on this machine."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
import numpy as np
import torch
from rich.table import Table

from streamseg.errors import UsageError
from streamseg.messages import Detection
from streamseg.models.sam import IMAGE_ENCODERS, Sam, SamNetwork
from streamseg.sam.info import ModelInfo, PublishedCounts, parameter_table

_SHAPE = (720, 1280, 3)
_BUDGET_S = 15.0
"""Measuring one thing goes on for so long, or for all its rounds; it is measured twice at least."""
_BOXES = tuple(
    Detection(xyxy=(x, y, x + 200.0, y + 300.0), confidence=1.0, class_id=0, class_name="object")
    for x, y in ((50.0, 40.0), (300.0, 200.0), (550.0, 60.0), (800.0, 300.0), (1050.0, 120.0))
)


class ParameterFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How many parameters a model has in each of its parts, and what was published of it (None where nothing was)."""

    model: str
    image_encoder: int
    prompt_encoder: int
    mask_decoder: int
    total: int
    published: PublishedCounts | None


class SpeedFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Medians for one model, with random weights, which cost what trained ones do.

    Attributes:
        model: Its name.
        encode_ms: A frame of 1280x720, resizing included.
        decode_1_ms: One box to its mask in pixels of the frame.
        decode_5_ms: Five boxes of one frame to theirs.
        encode_rounds: Times that the frame was encoded.
    """

    model: str
    encode_ms: float
    decode_1_ms: float
    decode_5_ms: float
    encode_rounds: int


class ModelsFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of all models, and the speed of those that were asked for with so many threads on the CPU."""

    threads: int
    parameters: tuple[ParameterFigures, ...]
    speeds: tuple[SpeedFigures, ...]


def bench_models(
    names: Sequence[str], rounds: int = 20, threads: int | None = None, progress: Callable[[str], None] | None = None
) -> ModelsFigures:
    """Count the parameters of all models, and time some, one after the other.

    Args:
        names: Which to time, of `streamseg.models.sam.IMAGE_ENCODERS`.
        rounds: Times that each thing is done at most; slow ones are done less often, but twice at least.
        threads: How many PyTorch uses; None uses as many as there are cores.
        progress: Is told what is measured next.

    Raises:
        UsageError: There is no model of such a name.
    """
    for name in names:
        if name not in IMAGE_ENCODERS:
            raise UsageError(f"no model is known as {name!r}; expected some of {', '.join(IMAGE_ENCODERS)}")
    threads = threads or os.cpu_count() or 1
    with _torch_threads(threads):
        return ModelsFigures(
            threads=threads,
            parameters=tuple(map(_parameters, parameter_table())),
            speeds=tuple(_speed(name, rounds, progress or (lambda step: None)) for name in names),
        )


def speed_table(figures: ModelsFigures) -> Table:
    """The speeds as a table for a terminal."""
    table = Table(title=f"Median milliseconds, 1280x720, {figures.threads} threads on the CPU, random weights")
    table.add_column("model", no_wrap=True)
    for heading in ("encode", "decode 1 box", "decode 5 boxes", "encoded"):
        table.add_column(heading, justify="right")
    for speed in figures.speeds:
        times = (f"{value:,.0f}" for value in (speed.encode_ms, speed.decode_1_ms, speed.decode_5_ms))
        table.add_row(speed.model, *times, f"{speed.encode_rounds} times")
    return table


def _parameters(info: ModelInfo) -> ParameterFigures:
    return ParameterFigures(
        model=info.architecture,
        image_encoder=info.encoder,
        prompt_encoder=info.prompt_encoder,
        mask_decoder=info.decoder,
        total=info.total,
        published=info.published,
    )


def _speed(name: str, rounds: int, progress: Callable[[str], None]) -> SpeedFigures:
    progress(f"{name}: encoding")
    model = Sam(SamNetwork(name).ready())
    image = np.random.default_rng(0).integers(0, 256, _SHAPE, np.uint8)
    encode = _times_ms(lambda: model.encode(image), rounds)
    progress(f"{name}: decoding")
    embedding = model.encode(image)
    one = _times_ms(lambda: model.decode(embedding, _BOXES[:1]), rounds)
    five = _times_ms(lambda: model.decode(embedding, _BOXES), rounds)
    return SpeedFigures(
        model=name,
        encode_ms=statistics.median(encode),
        decode_1_ms=statistics.median(one),
        decode_5_ms=statistics.median(five),
        encode_rounds=len(encode),
    )


def _times_ms(work: Callable[[], object], rounds: int) -> list[float]:
    work()  # The first time it makes itself ready.
    times: list[float] = []
    while len(times) < rounds and (len(times) < 2 or sum(times) < 1000 * _BUDGET_S):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return times


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
