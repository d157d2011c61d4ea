"""The parameter table counts what is there, and its explanations of the published figures add up."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console
from support.oracle import Oracle

from streamseg.models.options import MOBILE_SAM
from streamseg.models.segmenters.sam import SamNetwork
from streamseg.sam.info import ModelInfo, as_rich_table, model_info, parameter_table

UNIT = 2**20


@pytest.fixture(scope="module")
def table() -> dict[str, ModelInfo]:
    return {model.architecture: model for model in parameter_table()}


def test_counts_all_four_models(table: dict[str, ModelInfo]) -> None:
    assert {name: (info.encoder, info.total) for name, info in table.items()} == {
        "mobilesam": (5_743_892, 9_808_452),
        "sam-vit-b": (89_670_912, 93_735_472),
        "sam-vit-l": (308_278_272, 312_342_832),
        "sam-vit-h": (637_026_048, 641_090_608),
    }
    assert {(info.prompt_encoder, info.decoder) for info in table.values()} == {(6_220, 4_058_340)}


def test_a_network_with_weights_counts_the_same(table: dict[str, ModelInfo]) -> None:
    network = SamNetwork(MOBILE_SAM)
    assert model_info(network) == table[MOBILE_SAM]
    assert table[MOBILE_SAM].total == sum(parameter.numel() for parameter in network.parameters())


def test_the_explanations_add_up(table: dict[str, ModelInfo], oracle: Oracle) -> None:
    mobile, huge = table["mobilesam"], table["sam-vit-h"]
    classifier = sum(
        math.prod(shape)
        for name, shape in oracle.entries("vit_t").items()
        if name.startswith(("image_encoder.norm_head.", "image_encoder.head."))
    )
    for info in (mobile, huge):
        assert info.published is not None
        assert f"{(info.prompt_encoder + info.decoder) / UNIT:.3f}M" == info.published.decoder
        for number in (info.prompt_encoder, info.decoder, info.total):
            assert f"{number:,}" in info.published.explanation
    assert mobile.published is not None
    assert huge.published is not None
    assert f"{classifier:,}" in mobile.published.explanation
    assert f"{(mobile.total + classifier) / UNIT:.2f}M" == mobile.published.total
    assert f"{huge.total / UNIT:.0f}M" == huge.published.encoder
    assert f"{huge.total / UNIT + (huge.prompt_encoder + huge.decoder) / UNIT:.0f}M" == huge.published.total
    assert f"{huge.encoder / UNIT:.1f}M" in huge.published.explanation


def test_the_table_fits_a_terminal(table: dict[str, ModelInfo]) -> None:
    written = io.StringIO()
    Console(file=written, width=80).print(as_rich_table(tuple(table.values())))
    text = written.getvalue()
    assert "…" not in text
    for info in table.values():
        assert info.architecture in text
        assert all(f"{number:,}" in text for number in (info.encoder, info.prompt_encoder, info.decoder, info.total))
        if info.published is not None:
            assert all(
                f"{figure} " in text
                for figure in (info.published.encoder, info.published.decoder, info.published.total)
            )
            assert " ".join(info.published.explanation.split()) in " ".join(text.split())
