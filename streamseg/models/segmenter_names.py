"""Which segmenters there are; importing this loads no model."""

from __future__ import annotations

from typing import Final

from streamseg.models import plugins

MOBILE_SAM: Final = "mobilesam"
"""The one that several runtimes run."""
SAM_MODELS = (MOBILE_SAM, "sam-vit-b", "sam-vit-l", "sam-vit-h")
"""Those with weights in the catalogue; the others of them compute with PyTorch."""
NANO: Final = "nano"
"""The one whose weights are part of the package."""


def check_segmenter(model: str) -> None:
    """Check what can be known of the model without loading anything.

    Args:
        model: As in `SegmenterOptions`.

    Raises:
        SettingsError: There is no such segmenter, or several plug-ins have that name.
    """
    if model not in (*SAM_MODELS, NANO):
        segmenter_plugin(model)


def segmenter_plugin(model: str) -> plugins.Plugin:
    """The segmenter that an installed package offers under a name: a callable that takes `SegmenterOptions`.

    Raises:
        SettingsError: There is none, or more than one.
    """
    return plugins.find("segmenter", model, known=("auto", *SAM_MODELS, NANO))
