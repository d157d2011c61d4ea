"""What a reader has received and not used yet: it drops results of a live source that became old meanwhile.

The publisher cannot do that: buffers of two kernels and of ZeroMQ hold hundreds of small messages, the oldest first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from streamseg.errors import MessageError
from streamseg.wire.conversion import to_int
from streamseg.wire.header import RunId

LIVE: Final = "live"
"""Mode of a run whose newest frame wins."""
MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all messages that wait; more than a second of pictures of 4K."""
_OVERHEAD_BYTES: Final = 1024
"""Of a message beside its parts."""


class _Timings(msgspec.Struct, frozen=True):
    published: float | None = None


class _Header(msgspec.Struct, frozen=True):
    """What the header of a result says about its age."""

    run_id: RunId
    t_capture_unix_ns: str
    timings: _Timings
    mode: str | None = None


_decoder = msgspec.json.Decoder(_Header)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message; a result also has the time it was sent on the publisher's wall clock, and its delay at its receipt."""

    parts: list[bytes]
    source: str
    live: bool = False
    sent_s: float | None = None
    delay_s: float = 0.0

    @property
    def size(self) -> int:
        return _OVERHEAD_BYTES + sum(map(len, self.parts))


@dataclass(slots=True)
class _Delays:
    """Of the results of a run: the least delay, and the one beyond which a result counts as late."""

    run_id: str
    least_s: float
    usual_s: float


class Backlog:
    """Messages in the order of their arrival. Times are seconds; `now_s` is the reader's monotonic clock.

    The delay of a result is the reader's clock minus the publisher's. The least delay of a run is that of a result that
    did not wait, and whatever a delay exceeds it by is lag: so the two clocks need not agree.

    Attributes:
        lag_s: For how long the result taken last had waited; 0 before the first.
    """

    def __init__(self, max_lag_s: float | None, limit: int) -> None:
        """Begin empty.

        Args:
            max_lag_s: A live result that is older than the newest one of its source by more than this is dropped.
            limit: Results to keep; the oldest one is dropped for one more, and for each message beyond `MOST_BYTES`.
        """
        self.lag_s = 0.0
        self._max_lag_s = max_lag_s
        self._limit = limit
        self._waiting: deque[_Waiting] = deque()
        self._results = 0
        self._bytes = 0
        self._newest_s: dict[str, float] = {}
        self._delays: dict[str, _Delays] = {}
        self._last: _Waiting | None = None

    def __len__(self) -> int:
        """The number of messages that wait."""
        return len(self._waiting)

    @property
    def grows(self) -> bool:
        """Whether the reader adds all that has arrived. Of a file it adds one message at a time, to lose none."""
        return not self._waiting or (self._max_lag_s is not None and self._last is not None and self._last.live)

    def add(self, parts: Sequence[bytes], source: str, now_s: float, *, is_result: bool) -> None:
        """Add a message that has just been received."""
        waiting = _Waiting(list(parts), source)
        if is_result:
            try:
                header = _decoder.decode(parts[1])
                captured_ns = to_int("t_capture_unix_ns", header.t_capture_unix_ns)
            except (ValueError, RecursionError, IndexError, MessageError):
                pass  # the decoder of the whole message rejects it
            else:
                sent_s = captured_ns / 1e9 + (header.timings.published or 0.0) / 1e3
                waiting = _Waiting(waiting.parts, source, header.mode == LIVE, sent_s, now_s - sent_s)
                self._note_delay(source, header.run_id, now_s - sent_s)
                self._last, self._newest_s[source] = waiting, sent_s
                self._results += 1
        self._waiting.append(waiting)
        self._bytes += waiting.size
        while self._results > self._limit or (self._bytes > MOST_BYTES and len(self._waiting) > 1):
            self._drop_oldest()

    @property
    def late(self) -> bool:
        """Whether results wait, and even the newest was late when it arrived: newer ones are in buffers behind it."""
        return (
            self._results > 0
            and self._last is not None
            and self._last.live
            and self._max_lag_s is not None
            and self.lateness_s > self._max_lag_s
        )

    @property
    def lateness_s(self) -> float:
        """By how much the newest result exceeded the usual delay at its receipt; 0 before the first."""
        return 0.0 if self._last is None else self._last.delay_s - self._delays[self._last.source].usual_s

    def settle(self) -> None:
        """Take the newest result's delay for the usual one, since it falls no more: the publisher's clock was set."""
        if self._last is not None:
            self._delays[self._last.source].usual_s = self._last.delay_s

    def take(self, now_s: float) -> list[bytes] | None:
        """Remove and return the oldest message that is not to be dropped; None without one."""
        while self._waiting:
            oldest = self._waiting.popleft()
            self._forget(oldest)
            if oldest.sent_s is None:
                return oldest.parts
            if not self._is_old(oldest):
                self.lag_s = now_s - oldest.sent_s - self._delays[oldest.source].least_s
                return oldest.parts
        return None

    def _is_old(self, result: _Waiting) -> bool:
        if self._max_lag_s is None or not result.live or result.sent_s is None:
            return False
        return self._newest_s[result.source] - result.sent_s > self._max_lag_s

    def _note_delay(self, source: str, run_id: str, delay_s: float) -> None:
        known = self._delays.get(source)
        if known is None or known.run_id != run_id:
            known = self._delays[source] = _Delays(run_id, delay_s, delay_s)
        known.least_s, known.usual_s = min(known.least_s, delay_s), min(known.usual_s, delay_s)

    def _drop_oldest(self) -> None:
        oldest = next((waiting for waiting in self._waiting if waiting.sent_s is not None), self._waiting[0])
        self._waiting.remove(oldest)
        self._forget(oldest)

    def _forget(self, waiting: _Waiting) -> None:
        self._bytes -= waiting.size
        self._results -= waiting.sent_s is not None
