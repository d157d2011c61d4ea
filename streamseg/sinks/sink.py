"""The protocol of sinks, and what publish hands to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from streamseg.ipc.descriptors import FrameDescriptor
    from streamseg.messages import End, Image, ResultMessage
    from streamseg.wire.protocol import EncodedResult


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """The result of a frame, ready for every sink.

    Attributes:
        frame: Where its pixels lie.
        encoded: The result as the view `masks` sends it.
        age_ms: Milliseconds from the capture of the frame to its publishing.
        masks_seq: The newest segmented keyframe; None without one.
        suggestion: What would help while live masks starve; None while they do not.
    """

    frame: FrameDescriptor
    result: ResultMessage
    encoded: EncodedResult
    age_ms: float
    masks_seq: int | None
    suggestion: str | None = None


@dataclass(frozen=True, slots=True)
class Overlay:
    """A frame with its result drawn on it, of shape (height, width, 3), uint8, BGR.

    Attributes:
        rendered_ms: Milliseconds from the capture of the frame to the end of the drawing.
    """

    image: Image
    rendered_ms: float


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of one result.

    Attributes:
        clean: The frame without drawing, of shape (height, width, 3), uint8, BGR; None if no sink wanted pictures.
        draw: Draws the result on the clean frame.
    """

    clean: Image | None
    draw: Callable[[Image], Overlay]


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
