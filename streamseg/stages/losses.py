"""Counts what is lost on the way to publish, also when one of the stages is replaced."""

from __future__ import annotations

from msgspec.structs import replace

from streamseg.ipc.descriptors import Boxes, FrameDescriptor, Masks
from streamseg.messages import Dropped


class Losses:
    """Frames and masks that were lost so far.

    Attributes:
        counts: By cause. They only rise.
    """

    def __init__(self, before: Dropped, *, takes_over: bool) -> None:
        """Continue the counts of an earlier process, if this one takes over from it."""
        self.counts = before
        self._before_detect, self._in_detect = _Rise(takes_over), _Rise(takes_over)
        self._before_segment, self._in_segment = _Rise(takes_over), _Rise(takes_over)

    def add_overrun(self) -> None:
        """Count a frame that was overwritten before publish read it."""
        self.counts = replace(self.counts, publish_overrun=self.counts.publish_overrun + 1)

    def add_limited(self, masks: int) -> None:
        """Count masks that exceed the limits of the wire."""
        self.counts = replace(self.counts, masks_limited=self.counts.masks_limited + masks)

    def note(self, frame: FrameDescriptor, boxes: Boxes | None, masks: Masks | None) -> None:
        """Note what the other stages report with a frame."""
        last = self.counts
        # A new process of a stage may start from fewer than the last frames of the old one reported.
        self.counts = replace(
            last,
            detect_replaced=last.detect_replaced
            + self._before_detect.take(frame.detect_replaced)
            + self._in_detect.take(None if boxes is None else boxes.replaced),
            publish_replaced=max(last.publish_replaced, frame.publish_replaced),
            segment_replaced=last.segment_replaced
            + self._before_segment.take(None if boxes is None else boxes.segment_replaced)
            + self._in_segment.take(None if masks is None else masks.replaced),
            detect_overrun=max(last.detect_overrun, 0 if boxes is None else boxes.overrun),
            segment_overrun=max(last.segment_overrun, 0 if masks is None else masks.overrun),
        )


class _Rise:
    """The rise of another process's count, which starts from 0 again with each new process."""

    def __init__(self, takes_over: bool) -> None:
        self._last = None if takes_over else 0

    def take(self, count: int | None) -> int:
        """How far it has risen to this count, since the last one. What a process finds when it takes over is old."""
        if count is None:
            return 0
        last, self._last = self._last, count
        if last is None:
            return 0
        return count - last if count >= last else count
