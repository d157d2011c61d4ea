"""What is drawn on a picture."""

from __future__ import annotations

from typing import Annotated

import msgspec

from streamseg.settings import Fraction, Settings


class RenderSettings(Settings, frozen=True, kw_only=True):
    """What `render` draws: in the overlay for subscribers, in the window, and in recordings.

    Attributes:
        masks: The mask of each object.
        boxes: The box of each object.
        labels: Class, track and confidence of each object.
        status: At the lower edge, the names of the models, the age of old masks, and what is wrong.
        opacity: Of the masks, 0 to 1.
        scale: Size of lines and text, as a multiple (0.1 to 10) of their usual size, which follows that of the picture.
    """

    masks: bool = True
    boxes: bool = True
    labels: bool = True
    status: bool = True
    opacity: Fraction = 0.45
    scale: Annotated[float, msgspec.Meta(ge=0.1, le=10)] = 1.0
