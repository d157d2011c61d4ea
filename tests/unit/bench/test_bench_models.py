from __future__ import annotations

from io import StringIO

import msgspec
import pytest
import torch
from rich.console import Console

from streamseg.bench.models import ModelsFigures, bench_models, speed_table
from streamseg.errors import UsageError
from streamseg.models.sam import IMAGE_ENCODERS


def test_figures_of_a_short_measurement() -> None:
    threads_before = torch.get_num_threads()
    steps: list[str] = []
    figures = bench_models(["mobilesam"], rounds=1, threads=2, progress=steps.append)
    assert torch.get_num_threads() == threads_before
    assert figures.threads == 2
    assert steps == ["mobilesam: encoding", "mobilesam: decoding"]

    (speed,) = figures.speeds
    assert (speed.model, speed.encode_rounds) == ("mobilesam", 1)
    assert 20 < speed.encode_ms < 60_000
    assert 1 < speed.decode_1_ms < 60_000
    assert 1 < speed.decode_5_ms < 60_000

    assert [row.model for row in figures.parameters] == list(IMAGE_ENCODERS)
    assert all(row.total == row.image_encoder + row.prompt_encoder + row.mask_decoder for row in figures.parameters)
    assert figures.parameters[0].published is not None
    assert msgspec.json.decode(msgspec.json.encode(figures), type=ModelsFigures) == figures

    shown = StringIO()
    Console(file=shown, width=120).print(speed_table(figures))
    assert f"{speed.encode_ms:,.0f}" in shown.getvalue() and "2 threads" in shown.getvalue()


def test_only_the_parameters() -> None:
    figures = bench_models([])
    assert figures.speeds == ()
    assert len(figures.parameters) == 4


def test_an_unknown_model_is_said_before_anything_is_measured() -> None:
    steps: list[str] = []
    with pytest.raises(UsageError, match="'sam'; expected some of mobilesam, sam-vit-b"):
        bench_models(["mobilesam", "sam"], progress=steps.append)
    assert steps == []
