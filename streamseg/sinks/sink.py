"""The protocol of sinks, and what publish hands to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from streamseg.ipc.descriptors import FrameDescriptor
    from streamseg.messages import End, Image, Result
    from streamseg.wire.protocol import EncodedResult


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """The result of a frame, ready for every sink.

    Attributes:
        frame: Where its pixels lie.
        encoded: The result as the view `masks` sends it.
        age_ms: Milliseconds from the capture of the frame to its publishing.
        masks_seq: The newest segmented keyframe; None without one.
    """

    frame: FrameDescriptor
    result: Result
    encoded: EncodedResult
    age_ms: float
    masks_seq: int | None


@dataclass(frozen=True, slots=True)
class Overlay:
    """A frame with its result drawn on it, of shape (height, width, 3), uint8, BGR.

    Attributes:
        rendered_ms: Milliseconds from the capture of the frame to the end of the drawing.
    """

    image: Image
    rendered_ms: float


class Pictures:
    """The pictures of one result. The overlay is drawn when the first sink uses it.

    Attributes:
        clean: The frame without drawing, of shape (height, width, 3), uint8, BGR; None if no sink wanted pictures.
    """

    def __init__(self, clean: Image | None, draw: Callable[[Image], Overlay]) -> None:
        self.clean = clean
        self._draw = draw
        self._overlay: Overlay | None = None

    @property
    def overlay(self) -> Overlay | None:
        """The drawn frame; None if there is no clean one."""
        if self._overlay is None and self.clean is not None:
            self._overlay = self._draw(self.clean)
        return self._overlay


class Sink(Protocol):
    """A place where results go. Publish writes to its sinks in turn, so `write` must not wait for a receiver."""

    def wants(self) -> bool:
        """Whether the sink uses the pictures of the next result."""
        ...

    def write(self, result: PublishedResult, pictures: Pictures) -> None:
        """Take a result."""
        ...

    def close(self, end: End) -> None:
        """Take the end of the results."""
        ...
