"""What a frame shows of an object, and how that moved from one frame to the next.

Both pictures are squares around the object's box, so that motion and scale of the box are taken out beforehand: what is left for flow
to find is small, whatever the object's speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.messages import Box, Image
from streamseg.window import Window, crop, window_around

FLOW_SIDE: Final = 48
"""Flow is kept in a square of so many cells. Sides of squares are multiples of it."""
_SEARCHED = 5 / 6
"""Side in which it is searched for, as a share of the square's: a little less loses nothing that is seen."""

Flow = NDArray[np.float32]
"""Shape (FLOW_SIDE, FLOW_SIDE, 2): where each place of a square was before, x and y, as a displacement in sides of the square."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """An object's square in one frame.

    Attributes:
        box: The object's box, in pixels of the frame.
        window: What the square shows of the frame.
        picture: Shape (side, side, 3), uint8, BGR.
        grey: The same for the search of flow: shape (5 / 6 side, 5 / 6 side), uint8.
    """

    box: Box
    window: Window
    picture: Image
    grey: NDArray[np.uint8]

    @property
    def side(self) -> int:
        """Of the square, in pixels."""
        return int(self.picture.shape[0])


def look(image: Image, box: Box, side: int) -> Look | None:
    """Look at a box of a frame of shape (height, width, 3), uint8, BGR; None where it lies outside."""
    window = window_around(box, image.shape[1], image.shape[0])
    if window is None:
        return None
    picture = crop(image, window, side)
    searched = round(side * _SEARCHED)
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (searched, searched), interpolation=cv2.INTER_LINEAR)
    return Look(box, window, picture, np.asarray(grey, np.uint8))


class FlowFinder:
    """Dense flow between two looks at an object (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016)."""

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._search.setPatchStride(3)  # closer than usual: so limbs are seen

    def between(self, before: Look, after: Look) -> Flow:
        """Where each place of `after` was in `before`."""
        side = after.grey.shape[0]
        earlier = before.grey if before.grey.shape == after.grey.shape else cv2.resize(before.grey, (side, side))
        # Half the square's resolution shows outlines that a quarter blurs. The search forgets it where a square was too small for that.
        self._search.setFinestScale(1)
        found = self._search.calc(after.grey, earlier, None)  # type: ignore[call-overload]  # None asks for a new array
        flow = cv2.resize(found, (FLOW_SIDE, FLOW_SIDE), interpolation=cv2.INTER_LINEAR)
        return np.asarray(flow, np.float32) * np.float32(1 / side)
