"""Parameter counts of the SAM family, beside the published ones."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch
from rich.table import Table
from torch import nn

from streamseg.models.segmenters.sam import IMAGE_ENCODERS, SamNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCounts:
    """Parameter counts as MobileSAM's documentation writes them, and why they differ from ours.

    Attributes:
        encoder: Of the image encoder.
        decoder: Of the prompt encoder and the mask decoder together.
        total: Of the whole model.
        explanation: How each figure was computed.
    """

    encoder: str
    decoder: str
    total: str
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """Parameter counts of a model's parts; fixed tables, such as running means, are not counted.

    Attributes:
        architecture: One of `streamseg.models.segmenters.sam.IMAGE_ENCODERS`.
        encoder: Of the image encoder, its neck included.
        prompt_encoder: Of the prompt encoder.
        decoder: Of the mask decoder.
        published: The counts in MobileSAM's documentation, if any.
    """

    architecture: str
    encoder: int
    prompt_encoder: int
    decoder: int
    published: PublishedCounts | None

    @property
    def total(self) -> int:
        """Of the whole model."""
        return self.encoder + self.prompt_encoder + self.decoder


_DECODER = "3.876M is (6,220 + 4,058,340) / 2^20: prompt encoder and mask decoder together."
_PUBLISHED: Final = MappingProxyType(
    {
        "mobilesam": PublishedCounts(
            encoder="5M",
            decoder="3.876M",
            total="9.66M",
            explanation=(
                f"{_DECODER} 9.66M is (9,808,452 + 321,640) / 2^20: it includes TinyViT's classifier, "
                "which segmentation does not use and which is not loaded. 5M is from the encoder's name, "
                "TinyViT-5M, not its count."
            ),
        ),
        "sam-vit-h": PublishedCounts(
            encoder="611M",
            decoder="3.876M",
            total="615M",
            explanation=(
                f"{_DECODER} 611M is 641,090,608 / 2^20, already the whole model, so 615M counts the decoder twice; "
                "the encoder alone is 607.5M."
            ),
        ),
    }
)


def model_info(network: SamNetwork) -> ModelInfo:
    """Count the parameters of a network, also without weights (`torch.device("meta")`)."""
    return ModelInfo(
        architecture=network.architecture,
        encoder=_count(network.image_encoder),
        prompt_encoder=_count(network.prompt_encoder),
        decoder=_count(network.mask_decoder),
        published=_PUBLISHED.get(network.architecture),
    )


def parameter_table() -> tuple[ModelInfo, ...]:
    """Count the parameters of all models of the family, the smallest first, without weights."""
    with torch.device("meta"):
        return tuple(model_info(SamNetwork(architecture)) for architecture in IMAGE_ENCODERS)


def as_rich_table(models: tuple[ModelInfo, ...]) -> Table:
    """Format the counts for a terminal, with the published ones below each model and explanations at the end."""
    explained = [
        f"{model.architecture}: {model.published.explanation}" for model in models if model.published is not None
    ]
    table = Table(title="Parameters", caption="\n".join(explained) or None, caption_justify="left")
    table.add_column("model", no_wrap=True)
    for heading in ("image encoder", "prompt encoder", "mask decoder", "total"):
        table.add_column(heading, justify="right")
    for model in models:
        counts = (model.encoder, model.prompt_encoder, model.decoder, model.total)
        table.add_row(model.architecture, *(f"{count:,}" for count in counts))
        if model.published is not None:
            table.add_row("  published", model.published.encoder, "", model.published.decoder, model.published.total)
    return table


def _count(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())
