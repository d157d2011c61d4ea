"""Chooses some frames of a source by their presentation times. Pure: no clock."""

from __future__ import annotations

from typing import Final

_ROUNDED_NS: Final = 1_000_000
"""By how much a frame may be early: many containers round times to milliseconds."""


class FrameRate:
    """So many frames a second, as evenly as the source's own times allow; all of them without a rate."""

    def __init__(self, fps: float | None) -> None:
        self.fps = fps
        self._due_ns: float | None = None

    def takes(self, pts_ns: int) -> bool:
        """Whether the next frame is one of them. A frame that comes late does not delay those after it."""
        if self.fps is None:
            return True
        if self._due_ns is None:
            self._due_ns = float(pts_ns)
        if pts_ns < self._due_ns - _ROUNDED_NS:
            return False
        self._due_ns = max(self._due_ns + 1e9 / self.fps, pts_ns)  # after a pause, it makes up for one frame only
        return True

    def count(self, frames: int | None, source_fps: float | None) -> int | None:
        """About how many of the frames of a source with this rate are taken; None if that is not known."""
        if self.fps is None or frames is None:
            return frames
        return None if source_fps is None else max(1, round(frames * min(1.0, self.fps / source_fps)))
