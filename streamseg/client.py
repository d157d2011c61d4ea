"""What other processes use to receive results: a subscriber, and what its results can be turned into.

Importing this module loads neither torch nor PyAV nor OpenCV nor supervision.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, NotRequired, Self, TypedDict

import numpy as np
import zmq

from streamseg.errors import MessageError, SubscriptionRefusedError, SubscriptionTimeoutError, UsageError
from streamseg.masks import CocoRle, Mask, Polygon
from streamseg.messages import End, Message, Result, TrackedObject
from streamseg.wire.curve import ClientKeys, read_client_keys
from streamseg.wire.limits import PART_BYTES
from streamseg.wire.protocol import (
    PREFIX,
    STATE,
    ResultView,
    decode,
    read_topic,
    topic,
    validate_source_name,
    validate_view,
)

if TYPE_CHECKING:
    import supervision
    from supervision import CompactMask

_log = logging.getLogger(__name__)

NO_TRACK: Final = -1
"""`tracker_id` in `supervision.Detections` of an object without a confirmed track, as supervision's own trackers write it."""

_REFILL_MS: Final = 2
_SIGNALS_MS: Final = 200


class Subscriber:
    """Receives the results of a running pipeline, from this machine or another.

    Iterating gives every result in order, and ends when the pipeline's run does; after that it may be iterated again and waits for
    the next run. `async for` does the same. Both hand out results one by one: a loop slower than the camera falls behind by
    up to `queue` messages, and then misses some, which `Result.gap` shows. `latest()` is for such loops.

    A subscriber is for one thread. It connects whether or not the pipeline runs yet, and again when that restarts; a publisher that
    sends a part larger than the format allows is disconnected for good, before the part is taken in.

    Args:
        endpoint: ZeroMQ address of the publisher.
        source: Name of the source; None for every source of the endpoint.
        view: `masks` without a picture; `clean` or `overlay` with the bare or the drawn one in `Result.jpeg`.
        timeout: Seconds to wait for each result or message; None waits for ever.
        queue: Messages kept while the program is busy.
        secret_key_file: For a publisher that only lets in certain keys: a file with this subscriber's secret key.
        server_key_file: A file with that publisher's public key. Nothing is taken from another.

    Attributes:
        rejected: How many messages broke the wire format. They are left out; the first is logged.

    Raises:
        UsageError: The endpoint, the source's name, the view or a key file is not one.
    """

    def __init__(
        self,
        endpoint: str = "tcp://127.0.0.1:5555",
        *,
        source: str | None = None,
        view: ResultView = "masks",
        timeout: float | None = None,
        queue: int = 64,
        secret_key_file: str | Path | None = None,
        server_key_file: str | Path | None = None,
    ) -> None:
        if validate_view(view) == STATE:
            raise UsageError("view 'state' comes with every other view: subscribe to masks, clean or overlay")
        self._keys = _read_keys(secret_key_file, server_key_file)
        self.endpoint = endpoint
        self.rejected = 0
        self._view = view
        self._timeout = timeout
        self._queue = queue
        self._discovers = source is None
        self._met: set[str] = set()
        self._running: dict[str, tuple[str, int] | None] = {}
        self._put_back: End | None = None
        topics = [PREFIX] if source is None else [topic(validate_source_name(source), name) for name in (view, STATE)]
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = queue
        self._socket.setsockopt(zmq.MAXMSGSIZE, PART_BYTES)
        if self._keys is not None:
            self._socket.curve_secretkey = self._keys.secret
            self._socket.curve_publickey = zmq.curve_public(self._keys.secret)
            self._socket.curve_serverkey = self._keys.server
        for name in topics:
            self._socket.subscribe(name)
        # After either of these ZeroMQ does not try again.
        self._refusals = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        )
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._refusals, zmq.POLLIN)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise UsageError(
                f"endpoint {endpoint!r}: {error.strerror}; expected an address such as tcp://127.0.0.1:5555"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect. Closing twice does nothing."""
        self._socket.close()
        self._refusals.close()
        self._context.term()

    def __iter__(self) -> Iterator[Result]:
        """Every result in order until the run ends.

        Raises:
            SubscriptionTimeoutError: No result came within the time-out.
            SubscriptionRefusedError: The publisher does not let this subscriber in.
        """
        while (result := self._next_result(_Deadline(self._timeout))) is not None:
            yield result

    async def __aiter__(self) -> AsyncIterator[Result]:
        """The same as iterating, without blocking the event loop.

        Raises:
            SubscriptionTimeoutError: No result came within the time-out.
            SubscriptionRefusedError: The publisher does not let this subscriber in.
        """
        deadline = _Deadline(self._timeout)
        while True:
            message = await self._arrival_async(deadline)
            if isinstance(message, Result):
                yield message
                deadline = _Deadline(self._timeout)
            elif isinstance(message, End) and self._finished:
                return

    def messages(self) -> Iterator[Message]:
        """Every message in order, also state, heartbeat and end, until the run ends.

        Raises:
            SubscriptionTimeoutError: No message came within the time-out.
            SubscriptionRefusedError: The publisher does not let this subscriber in.
        """
        while True:
            message = self.receive()
            yield message
            if isinstance(message, End) and self._finished:
                return

    def receive(self, timeout: float | None = None) -> Message:
        """The next message of any kind.

        Args:
            timeout: Seconds to wait; None for the subscriber's own time-out.

        Raises:
            SubscriptionTimeoutError: No message came in time.
            SubscriptionRefusedError: The publisher does not let this subscriber in.
        """
        return self._arrival(_Deadline(self._timeout if timeout is None else timeout))

    def latest(self, timeout: float | None = None) -> Result | None:
        """The newest result that has arrived, or the next one where none has; None when the run has ended.

        Older results are skipped without being read, and their number is part of `Result.gap`; so are messages of other kinds.

        Args:
            timeout: Seconds to wait; None for the subscriber's own time-out.

        Raises:
            SubscriptionTimeoutError: No result came in time.
            SubscriptionRefusedError: The publisher does not let this subscriber in.
        """
        deadline = _Deadline(self._timeout if timeout is None else timeout)
        while self._put_back is None:
            self._wait(deadline)
            for parts in reversed(self._drain()):
                message = self._accept(parts)
                if isinstance(message, Result):
                    return message
        self._put_back = None
        return None

    @property
    def _finished(self) -> bool:
        return not self._running

    def _next_result(self, deadline: _Deadline) -> Result | None:
        while True:
            message = self._arrival(deadline)
            if isinstance(message, Result):
                return message
            if isinstance(message, End) and self._finished:
                return None

    def _arrival(self, deadline: _Deadline) -> Message:
        message = self._take_back()
        while message is None:
            self._wait(deadline)
            message = self._accept(self._socket.recv_multipart())
        return message

    async def _arrival_async(self, deadline: _Deadline) -> Message:
        from zmq.asyncio import Poller

        poller = Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._refusals, zmq.POLLIN)
        message = self._take_back()
        while message is None:
            await poller.poll(deadline.milliseconds())
            self._check_arrived(deadline)
            message = self._accept(self._socket.recv_multipart())
        return message

    def _take_back(self) -> Message | None:
        end, self._put_back = self._put_back, None
        return end

    def _wait(self, deadline: _Deadline) -> None:
        # In steps, since a signal that comes while ZeroMQ is busy inside is only seen when the poll returns.
        left = deadline.milliseconds()
        while not self._poller.poll(_SIGNALS_MS if left is None else min(left, _SIGNALS_MS)) and left != 0:
            left = deadline.milliseconds()
        self._check_arrived(deadline)

    def _check_arrived(self, deadline: _Deadline) -> None:
        if self._socket.poll(0):
            return
        if self._refusals.poll(0):
            cause = (
                "without a key; give secret_key_file and server_key_file"
                if self._keys is None
                else "with this key; have it allowed there (publish.curve.allow), or leave it out where none is wanted"
            )
            raise SubscriptionRefusedError(f"{self.endpoint} lets no subscriber in {cause}")
        raise self._timed_out(deadline)

    def _timed_out(self, deadline: _Deadline) -> SubscriptionTimeoutError:
        unheard = (
            "is the pipeline running, and does it want a key?"
            if self._keys is None
            else "is the pipeline running, with that key?"
        )
        cause = "the pipeline lives, its source may be disconnected" if self._running else unheard
        return SubscriptionTimeoutError(f"nothing came from {self.endpoint} within {deadline.seconds:g} s; {cause}")

    def _drain(self) -> deque[list[bytes]]:
        """Take what has arrived, up to the end of a run; keep the last few results, unread."""
        results: deque[list[bytes]] = deque(maxlen=8)
        taken = 0
        # A queue that was full is filled again, from the kernel's buffers, while it is emptied.
        while self._put_back is None and self._socket.poll(_REFILL_MS if taken >= self._queue else 0):
            parts = self._socket.recv_multipart()
            taken += 1
            if parts[0].endswith(b"/" + self._view.encode()):
                results.append(parts)
            elif isinstance(end := self._accept(parts), End) and self._finished:
                self._put_back = end
        return results

    def _accept(self, parts: list[bytes]) -> Message | None:
        """The message that the parts are, or None where it is not for this subscriber."""
        try:
            source, view = read_topic(parts[0])
            self._meet(source)
            return self._place(decode(parts).message) if view in (self._view, STATE) else None
        except MessageError as error:
            self.rejected += 1
            if self.rejected == 1:
                _log.warning("a message from %s was left out: %s", self.endpoint, error)
            return None

    def _meet(self, source: str) -> None:
        # Pictures are only made for who asks for them by their full topic, which needs the source's name.
        if self._discovers and source not in self._met:
            self._met.add(source)
            self._socket.subscribe(topic(source, self._view))

    def _place(self, message: Message) -> Message | None:
        """Count the gap before a result, leave out one that was received already, and note which runs are on."""
        last = self._running.get(message.source)
        if isinstance(message, End):
            self._running.pop(message.source, None)
            return message
        if not isinstance(message, Result):
            self._running.setdefault(message.source, None)
            return message
        self._running[message.source] = (message.run_id, message.seq)
        if last is None or last[0] != message.run_id:
            return message
        if message.seq <= last[1]:
            self._running[message.source] = last
            return None
        return replace(message, gap=message.seq - last[1] - 1)


def _read_keys(secret_key_file: str | Path | None, server_key_file: str | Path | None) -> ClientKeys | None:
    if secret_key_file is None and server_key_file is None:
        return None
    if secret_key_file is None or server_key_file is None:
        missing = "secret_key_file" if secret_key_file is None else "server_key_file"
        raise UsageError(
            f"{missing}: missing; a subscriber needs its own secret key and the publisher's public key, or neither"
        )
    return read_client_keys(secret_key_file, server_key_file)


class _Deadline:
    """A moment by which something must have come."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = math.inf if seconds is None else seconds
        self._end = time.monotonic() + self.seconds

    def milliseconds(self) -> int | None:
        """What is left, at least 0; None for ever."""
        return None if math.isinf(self._end) else max(0, math.ceil((self._end - time.monotonic()) * 1000))


class CocoAnnotation(TypedDict):
    """One object as COCO's JSON has it; `bbox` is left, top, width, height, and `image_id` the frame's `seq`."""

    image_id: int
    category_id: int
    bbox: list[float]
    score: float
    area: float
    iscrowd: int
    segmentation: NotRequired[CocoRle]


def to_coco(result: Result) -> list[CocoAnnotation]:
    """Every object as a COCO annotation that `json` can write; one without a mask has no `segmentation`, and its box's area."""
    return [_annotation(result, item) for item in result.objects]


def to_polygons(result: Result) -> list[list[Polygon]]:
    """For each object the outlines of its mask's parts, each of shape (points, 2); an empty list without a mask. Loads OpenCV."""
    return [[] if item.mask is None else item.mask.polygons() for item in result.objects]


def to_detections(result: Result) -> supervision.Detections:
    """The objects as `supervision.Detections`, masks as `CompactMask`. Loads supervision, and with it OpenCV.

    `tracker_id` is -1 for an object without a confirmed track. `data` holds `class_name` and `method`. An object whose mask is
    missing has an empty one; `mask` is None where no object has one.
    """
    import supervision

    objects = result.objects
    found = [item.detection for item in objects]
    return supervision.Detections(
        xyxy=np.array([item.xyxy for item in found], dtype=np.float32).reshape(-1, 4),
        mask=_compact([item.mask for item in objects], result.height, result.width),
        confidence=np.array([item.confidence for item in found], dtype=np.float32),
        class_id=np.array([item.class_id for item in found], dtype=np.int64),
        tracker_id=np.array(
            [NO_TRACK if item.tracker_id is None else item.tracker_id for item in found], dtype=np.int64
        ),
        data={
            "class_name": np.array([item.class_name for item in found], dtype=np.str_),
            "method": np.array([item.method for item in objects], dtype=np.str_),
        },
    )


def _annotation(result: Result, item: TrackedObject) -> CocoAnnotation:
    left, top, right, bottom = item.detection.xyxy
    width, height = right - left, bottom - top
    annotation = CocoAnnotation(
        image_id=result.seq,
        category_id=item.detection.class_id,
        bbox=[left, top, width, height],
        score=item.detection.confidence,
        area=width * height if item.mask is None else float(item.mask.area),
        iscrowd=0,
    )
    if item.mask is not None:
        annotation["segmentation"] = item.mask.rle(result.height, result.width)
    return annotation


def _compact(masks: list[Mask | None], height: int, width: int) -> CompactMask | None:
    if not any(masks):
        return None
    from supervision import CompactMask

    # Each mask is packed within its own rectangle, so that no array of the frame's size is made.
    nothing = Mask(0, 0, np.zeros((1, 1), dtype=np.bool_))
    crops = [nothing if mask is None else mask for mask in masks]
    corners = [np.array([[0, 0, mask.width - 1, mask.height - 1]]) for mask in crops]
    compact = [
        CompactMask.from_dense(mask.bits[None], box, mask.bits.shape) for mask, box in zip(crops, corners, strict=True)
    ]
    return CompactMask.merge(
        [mask.with_offset(crop.x, crop.y, (height, width)) for mask, crop in zip(compact, crops, strict=True)]
    )
