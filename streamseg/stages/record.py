"""Record: draws and encodes published results, and writes them to the files of the run."""

from __future__ import annotations

import dataclasses
import logging
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import msgspec

from streamseg.errors import FrameGoneError
from streamseg.ipc.descriptors import EndOfStream, FrameResult
from streamseg.ipc.stage_messages import Finished, Ready, Recorded
from streamseg.messages import Image, ResultMessage
from streamseg.render import render
from streamseg.sinks.recorder import Recorder
from streamseg.stages.base import SUPERVISOR_GONE, Stage, StageContext
from streamseg.wire.protocol import decode

if TYPE_CHECKING:
    from streamseg.ipc.links import Receiver

_LAST_RESULTS_S = 1.0
_PROGRESS_S = 0.5

_log = logging.getLogger(__name__)


class RecordStage(Stage):
    """Records each result once: in every-frame mode all of them, in live mode those that it has time for."""

    def __init__(self, context: StageContext) -> None:
        super().__init__(context)
        self._live = self.spec.live
        self._source = self.spec.lane.name
        self._results: Receiver[FrameResult | EndOfStream] = context.receiver(
            "publish", self._source, FrameResult | EndOfStream
        )
        recorded = self.spec.lane.highest_acknowledged
        self._resume = recorded is not None
        self._last_seq = -1 if recorded is None else recorded
        self._replaced = self._overrun = 0
        self._finished = False

    def prepare(self) -> Ready:
        """Begin the recording, or a further part of it."""
        self._recorder = Recorder(self.config.record, resume=self._resume)
        return Ready(", ".join(filter(None, (self.config.record.video, self.config.record.jsonl))))

    def turn(self) -> bool:
        """Record one result."""
        message = self._results.receive()
        self._results.grant()  # before the work: the next result arrives meanwhile
        match message:
            case FrameResult():
                self._take(message)
            case EndOfStream() as end if self._live or end.seq in (None, self._last_seq):
                self._finish()
                self.context.report(Finished(self._source, end.seq, end.reason))
        return message is not None

    def close(self, reason: str) -> None:
        """Record what publish sends at its own end, and finish the files."""
        if reason == SUPERVISOR_GONE:
            self._recorder.close()  # no time to join anything
            return
        waited_s = 0.0
        while not self._finished and waited_s < _LAST_RESULTS_S:
            if not self.turn():
                self.context.clock.sleep(0.005)
                waited_s += 0.005
        self._finish()

    def _take(self, item: FrameResult) -> None:
        seq = item.frame.seq
        if self._finished or (not self._live and seq > self._last_seq + 1):  # the frames before it are sent again
            return
        if seq > self._last_seq:
            self._replaced = item.replaced
            try:
                self._recorder.write(*self._draw(item))
            except FrameGoneError:
                if not self._live:  # capture makes a new ring and repeats the frame
                    return
                self._overrun += 1
            self._last_seq = seq
        if self._recorder.begun:  # a new process continues the recording only if it has started
            self.context.report(
                Recorded(source=self._source, seq=seq, record_replaced=self._replaced, record_overrun=self._overrun)
            )

    def _draw(self, item: FrameResult) -> tuple[ResultMessage, Image | None]:
        """The result, and its picture if there is a video.

        Raises:
            FrameGoneError: The picture is no longer in shared memory.
        """
        result = decode(item.parts)
        assert isinstance(result, ResultMessage)
        if not self._recorder.wants_picture:
            return result, None
        image = self.context.frames.read(item.frame.ring, item.frame.seq)
        if not self._recorder.wants_overlay:
            return result, image
        drawn = render(image, result, self.config.render)
        timings = msgspec.structs.replace(result.timings, rendered=item.frame.age_ms(self.context.clock.now_ns()))
        return dataclasses.replace(result, timings=timings), drawn

    def _finish(self) -> None:
        """Finish the files. Hours of video take a while: the supervisor sees progress meanwhile."""
        if self._finished:
            return
        self._finished = True
        with ThreadPoolExecutor(1) as executor:
            finishing = executor.submit(self._recorder.finish)
            while not wait([finishing], _PROGRESS_S).done:
                self.context.progress()
        finishing.result()
        if self._replaced or self._overrun:
            _log.warning(
                "%d frames are missing in the recording: this machine was too slow for %d of them, and %d left shared "
                "memory before they were read",
                self._replaced + self._overrun,
                self._replaced,
                self._overrun,
            )
