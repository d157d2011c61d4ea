"""Reads a live source as a test requires."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from streamseg.messages import Frame
from streamseg.sources import Source, SourceChange, SourceDamage

Item = Frame | SourceChange | SourceDamage
WITHIN_S = 30.0


class Watch:
    """Reads a source in the test's own thread and records its items."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.stop = threading.Event()
        self.items: list[Item] = []
        self._stream = self.source.frames(0, self.stop)

    def until(
        self, condition: Callable[[Frame | SourceChange | SourceDamage], bool]
    ) -> Frame | SourceChange | SourceDamage:
        """Read until an item meets the condition."""
        deadline = time.monotonic() + WITHIN_S
        for item in self._stream:
            self.items.append(item)
            if condition(item):
                return item
            assert time.monotonic() < deadline, "it did not come in time"
        raise AssertionError("the source ended")

    def frames(self, count: int) -> list[Frame]:
        """Read that many more frames and return them."""
        got: list[Frame] = []
        while len(got) < count:
            item = self.until(lambda item: isinstance(item, Frame))
            assert isinstance(item, Frame)
            got.append(item)
        return got

    def state(self, state: str) -> SourceChange:
        """Read until the source is in that state."""
        item = self.until(lambda item: isinstance(item, SourceChange))
        assert isinstance(item, SourceChange) and item.state == state
        return item

    def times(self) -> list[int]:
        """The presentation times of all frames so far."""
        return [item.pts_ns for item in self.items if isinstance(item, Frame)]

    def newest(self) -> Frame:
        """The last frame so far."""
        return next(item for item in reversed(self.items) if isinstance(item, Frame))
