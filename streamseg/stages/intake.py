"""Capture's thread that waits for the source, so that capture's loop never does."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from typing import TYPE_CHECKING

from streamseg.errors import StageError, StreamsegError
from streamseg.messages import Frame
from streamseg.sources import Source, SourceChange, SourceDamage
from streamseg.stages.frame_rate import FrameRate

if TYPE_CHECKING:
    from collections.abc import Callable

Item = Frame | SourceChange | SourceDamage | StreamsegError | str
"""A frame, a change of the connection, what a file lacks, the error that ended the source, or the reason of its end."""

_PUT_S = 0.1
_STOP_S = 0.3


class Intake:
    """Reads a source in a thread and offers its frames one by one."""

    def __init__(
        self,
        source: Source,
        start: int,
        max_frames: int | None,
        *,
        live: bool,
        paced: bool,
        fps: float | None = None,
    ) -> None:
        """Prepare to read.

        Args:
            source: An open source. The intake closes it at its end.
            start: Frames to skip, if the source can.
            max_frames: Frames from the beginning of the source after which it ends.
            live: Drop frames that arrive before `release`; other sources are not read before it.
            paced: Hold each frame until its presentation time.
            fps: Frames a second to offer; the others are left out, and `start` and `max_frames` count none of them.
        """
        self._source = source
        self._start = start
        self._limit = max_frames
        self._live = live
        self._paced = paced
        self._rate = FrameRate(fps)
        self._stop = threading.Event()
        self._released = threading.Event()
        self._origin_ns: int | None = None
        self._after_pts_ns = -1
        self._items: queue.Queue[Item] = queue.Queue(maxsize=2)
        self._returned: Frame | None = None
        self._thread: threading.Thread | None = None

    def start(self, wake: Callable[[], None]) -> None:
        """Start the thread; it calls `wake` for every item."""
        self._thread = threading.Thread(target=self._read, args=(wake,), name="intake", daemon=True)
        self._thread.start()

    def release(self, origin_ns: int | None, after_pts_ns: int = -1) -> None:
        """Let frames through.

        Args:
            origin_ns: In live mode, the start of the run on the monotonic clock.
            after_pts_ns: The first presentation time is later than this one, in nanoseconds; -1 makes it 0 in live
                mode. Without an origin, this holds for live sources alone: others resume at the frame's own time.
        """
        self._origin_ns = origin_ns
        self._after_pts_ns = after_pts_ns
        self._released.set()

    def stop(self) -> None:
        """End the thread, which closes the source; a blocked read is given up after a moment."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_STOP_S)

    def take(self) -> Item | None:
        """The next item, or None if there is none yet."""
        if self._returned is not None:
            frame, self._returned = self._returned, None
            return frame
        with contextlib.suppress(queue.Empty):
            return self._items.get_nowait()
        return None

    def put_back(self, frame: Frame) -> None:
        """Return a frame; the next `take` gives it again."""
        self._returned = frame

    def _read(self, wake: Callable[[], None]) -> None:
        last: Item = "end of source"
        try:
            self._read_frames(wake)
        except StreamsegError as error:
            last = error
        except Exception as error:  # noqa: BLE001 - whatever a driver raises must reach the loop
            last = StageError(f"the source failed: {type(error).__name__}: {error}")
        finally:
            self._source.close()
        self._put(last, wake)

    def _read_frames(self, wake: Callable[[], None]) -> None:
        while not self._live and not self._released.wait(_PUT_S):
            if self._stop.is_set():
                return
        count, shift_ns = self._start, None
        if self._limit is not None and count >= self._limit:
            return
        # A file counts the frames that are left out, too.
        first, skipped = (self._start, 0) if self._live or self._rate.fps is None else (0, self._start)
        for item in self._source.frames(first, self._stop):
            if isinstance(item, SourceChange | SourceDamage):
                self._put(item, wake)
                continue
            if not self._released.is_set() or not self._rate.takes(item.pts_ns):
                continue
            if skipped > 0:
                skipped -= 1
                continue
            if shift_ns is None:
                shift_ns = self._shift_ns(item.pts_ns)
            self._put(self._timed(item, shift_ns), wake)
            count += 1
            if self._limit is not None and count >= self._limit:
                return

    def _shift_ns(self, first_pts_ns: int) -> int:
        """By how much to shift every presentation time; a live source that is opened again begins at 0 again."""
        if self._origin_ns is not None and self._after_pts_ns < 0:
            return -first_pts_ns
        if self._origin_ns is not None:
            return max(self._after_pts_ns + 1, time.monotonic_ns() - self._origin_ns) - first_pts_ns
        return max(0, self._after_pts_ns + 1 - first_pts_ns) if self._live else 0

    def _timed(self, frame: Frame, shift_ns: int) -> Frame:
        """Shift a frame's presentation time; a paced frame waits for it and is captured then."""
        frame = dataclasses.replace(frame, pts_ns=frame.pts_ns + shift_ns)
        if not self._paced or self._origin_ns is None:
            return frame
        self._stop.wait(max(0, self._origin_ns + frame.pts_ns - time.monotonic_ns()) / 1e9)
        return dataclasses.replace(frame, t_capture_ns=time.monotonic_ns(), t_capture_unix_ns=time.time_ns())

    def _put(self, item: Item, wake: Callable[[], None]) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=_PUT_S)
                wake()
                return
