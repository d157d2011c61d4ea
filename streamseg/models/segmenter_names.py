"""Which segmenters there are; importing this loads no model."""

from __future__ import annotations

from typing import Final

from streamseg.errors import SettingsError
from streamseg.models import plugins

MOBILE_SAM: Final = "mobilesam"
"""The one that several runtimes run."""
SAM_MODELS = (MOBILE_SAM, "sam-vit-b", "sam-vit-l", "sam-vit-h")
"""Those with weights in the catalogue; the others of them compute with PyTorch."""
GRABCUT: Final = "grabcut"
"""The one that needs no weights."""


def check_segmenter(model: str, *, own_weights: bool = False) -> None:
    """Check what can be known of the settings without loading anything.

    Args:
        model: As in `SegmenterOptions`.
        own_weights: Whether weights of the user's own are given.

    Raises:
        SettingsError: There is no such segmenter, several plug-ins have that name, or it takes no weights and is given some.
    """
    if model == GRABCUT and own_weights:
        raise SettingsError(f"segmenter.weights: {GRABCUT} takes no weights; leave the key out, or choose {', '.join(SAM_MODELS)}")
    if model not in (*SAM_MODELS, GRABCUT):
        segmenter_plugin(model)


def segmenter_plugin(model: str) -> plugins.Plugin:
    """The segmenter that an installed package offers under a name: a callable that takes `SegmenterOptions`.

    Raises:
        SettingsError: There is none, or more than one.
    """
    return plugins.find("segmenter", model, known=("auto", *SAM_MODELS, GRABCUT))
