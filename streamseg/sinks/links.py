"""Sinks that send results to other processes of the run: record, the loop over a `Pipeline`, the supervisor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from streamseg.ipc.descriptors import EndOfStream, FrameDescriptor, FrameResult
from streamseg.ipc.recent import Recent
from streamseg.ipc.stage_messages import Published, PublishedMask

if TYPE_CHECKING:
    from streamseg.ipc.clock import Clock
    from streamseg.ipc.links import Sender
    from streamseg.messages import End
    from streamseg.sinks.sink import Pictures, PublishedResult

_LAST_RESULT_S = 0.3


class RecordSink:
    """Feeds the record process. It reads the pixels itself, from shared memory.

    In live mode the link keeps the newest result while the recorder is busy, and counts those it replaced. In
    every-frame mode, results wait on the link: there are never more of them than the ring has slots.
    """

    def __init__(self, sender: Sender[FrameResult | EndOfStream], clock: Clock, *, live: bool) -> None:
        self._sender = sender
        self._clock = clock
        self._live = live
        self._recent: Recent[FrameResult] = Recent()
        self._end: EndOfStream | None = None

    def wants(self) -> bool:
        """Publish need not read pixels for the recorder."""
        return False

    def write(self, result: PublishedResult, pictures: Pictures) -> None:
        """Send a result, and keep it for a new record process."""
        item = FrameResult(frame=result.frame, parts=result.encoded.parts, replaced=self._sender.replaced)
        self._recent.add(result.frame.seq, item)
        self._sender.send(item)

    def service(self) -> None:
        """Send what the recorder's credit allows; call it every turn."""
        self._sender.service()

    def repeat(self, frame: FrameDescriptor) -> None:
        """Send the result of a frame again that capture announced again, and that may now lie in another ring."""
        if frame.seq in self._recent:
            item = self._recent[frame.seq] = msgspec.structs.replace(self._recent[frame.seq], frame=frame)
            self._sender.send(item)

    def repeat_end(self) -> None:
        """Send the end again, if it was sent before."""
        if self._end is not None:
            self._sender.send(self._end)

    def close(self, end: End) -> None:
        """Send the end. A live recorder first gets a moment to take the last result, which the end would replace."""
        waited_s = 0.0
        while self._live and not self._sender.credit and waited_s < _LAST_RESULT_S:
            self._sender.service()
            self._clock.sleep(0.005)
            waited_s += 0.005
        self._end = EndOfStream(source=end.source, seq=end.seq, reason=end.reason)
        self._sender.send(self._end)


class TapSink:
    """Sends results to the loop over a `Pipeline`."""

    def __init__(self, sender: Sender[list[bytes]]) -> None:
        self._sender = sender

    def wants(self) -> bool:
        """The loop gets no pictures."""
        return False

    def write(self, result: PublishedResult, pictures: Pictures) -> None:
        """Send the parts of a result."""
        self._sender.send(result.encoded.parts)

    def close(self, end: End) -> None:
        """The loop ends with the process that supervises the run."""


class MetricsSink:
    """Reports each published frame to the supervisor, which counts and acknowledges it."""

    def __init__(self, report: Callable[[Published], None], *, hold: bool) -> None:
        """Report each frame at once, or with `hold` when `confirm` is called."""
        self._report = report
        self._hold = hold
        self._held: Published | None = None

    def wants(self) -> bool:
        """Counting needs no pictures."""
        return False

    def write(self, result: PublishedResult, pictures: Pictures) -> None:
        """Report a frame."""
        objects = result.result.objects
        self._held = Published(
            source=result.result.source,
            seq=result.result.seq,
            pts_ns=result.result.pts_ns,
            age_ms=result.age_ms,
            boxes_seq=result.result.boxes_seq,
            masks_seq=result.masks_seq,
            objects=len(objects),
            masks=tuple(PublishedMask(item.method, item.age_ms) for item in objects if item.mask is not None),
            classes=tuple(sorted({item.detection.class_name for item in objects})),
            dropped=result.result.dropped,
            suggestion=result.suggestion,
        )
        if not self._hold:
            self.confirm()

    def confirm(self) -> None:
        """Report the frame written last, if it is not reported yet."""
        held, self._held = self._held, None
        if held is not None:
            self._report(held)

    def close(self, end: End) -> None:
        """Publish itself reports that it has finished."""
