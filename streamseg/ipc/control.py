"""Control between the supervisor and a stage: length-prefixed messages over the child's standard input and output.

Plain pipes survive a `kill -9` of either end, and their end of file is the news that the other end is gone.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from typing import IO

import msgspec

from streamseg.config import Config
from streamseg.ipc.ring import RingName
from streamseg.messages import Dropped, Models

_LENGTH = struct.Struct("<I")


class LinkAddress(msgspec.Struct, frozen=True):
    """Where a link of the pipeline's table lies."""

    name: str
    address: str


class Assignment(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first message to a stage: everything that it needs to prepare itself.

    Attributes:
        key: Authenticates messages on links.
        instance: Prefix of the names of shared segments.
        models: What the settings' `auto` came to.
        detector_weights: A file, where the detector needs one.
        segmenter_weights: A file, where the segmenter needs one.
        threads: The stage's thread budget.
        niceness: Added to the process's own.
        epoch: Epoch of capture's next ring.
        resume_after: Last frame that is done with; None at the first start.
        tracker_state: The tracker after that frame, for detect.
        highest_id: The highest number that a track has had.
        log_level: Of the logging module.
        tap: Whether results go to the parent process over the link `results`.
    """

    stage: str
    config: Config
    run_id: str
    key: bytes
    instance: str
    links: tuple[LinkAddress, ...]
    models: Models
    detector_weights: str | None
    segmenter_weights: str | None
    threads: int
    niceness: int
    epoch: int
    resume_after: int | None
    tracker_state: bytes
    highest_id: int
    log_level: int
    tap: bool


class Start(msgspec.Struct, frozen=True, tag=True):
    """All stages are ready: frames may flow.

    Attributes:
        origin_ns: The monotonic clock when the run first started.
        after_pts_ns: Presentation time of the last frame published, -1 before the first.
    """

    origin_ns: int
    after_pts_ns: int


class Stop(msgspec.Struct, frozen=True, tag=True):
    """End in an orderly way; `reason` goes on the wire."""

    reason: str


class Acknowledged(msgspec.Struct, frozen=True, tag=True):
    """To capture: slots of frames up to `seq` may be used again."""

    seq: int


class Resend(msgspec.Struct, frozen=True, tag=True):
    """A stage is new. To capture: announce the frames after `after` once more. To segment: repeat the latest answers."""

    after: int


class Announce(msgspec.Struct, frozen=True, tag=True):
    """To publish: put a change of the source or a stage on the wire."""

    stage: str
    state: str
    detail: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The stage is prepared; `detail` describes what it runs."""

    detail: str
    frame_count: int | None = None


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The stage cannot go on; `error` names a class of `streamseg.errors`."""

    error: str
    message: str


class Progress(msgspec.Struct, frozen=True, tag=True):
    """The stage's loop turns.

    Attributes:
        turn_ns: Median length of the latest turns.
    """

    turn_ns: int


class LogLine(msgspec.Struct, frozen=True, tag=True):
    """One log record of a stage."""

    level: int
    text: str


class RingCreated(msgspec.Struct, frozen=True, tag=True):
    """Capture made a new segment; the one before is no longer written."""

    ring: RingName


class SourceChanged(msgspec.Struct, frozen=True, tag=True):
    """Capture lost or regained its source."""

    state: str
    detail: str


class Detected(msgspec.Struct, frozen=True, tag=True):
    """Detect has read and answered every frame up to `seq`."""

    seq: int


class PublishedMask(msgspec.Struct, frozen=True, array_like=True):
    """A mask of a published frame: the method that made it, and how long before that frame."""

    method: str
    age_ms: float


class Published(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Publish is done with every frame up to `seq`.

    Attributes:
        age_ms: Milliseconds from that frame's capture to its publishing.
        boxes_seq: The frame on which its boxes were found; None before the detector's first answer.
        masks_seq: The keyframe of the segmenter's newest answer that was here; None where there was none.
        objects: How many that frame has.
        masks: Those of that frame.
        classes: Names of the classes in that frame.
        dropped: What the stages have counted so far, each since it was started last.
        tracker_state: The tracker after the newest boxes used so far; empty where it has been reported a moment ago.
        highest_id: The highest number of a track in that frame, 0 without any.
    """

    seq: int
    pts_ns: int
    age_ms: float
    boxes_seq: int | None
    masks_seq: int | None
    objects: int
    masks: tuple[PublishedMask, ...]
    classes: tuple[str, ...]
    dropped: Dropped
    tracker_state: bytes
    highest_id: int


class Finished(msgspec.Struct, frozen=True, tag=True):
    """Publish has put the last frame everywhere it belongs."""

    seq: int | None
    reason: str


ToStage = Assignment | Start | Stop | Acknowledged | Resend | Announce
ToSupervisor = Ready | Failed | Progress | LogLine | RingCreated | SourceChanged | Detected | Published | Finished


class ControlWriter:
    """Writes messages; safe to use from several threads."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: ToStage | ToSupervisor) -> None:
        """Write one message.

        Raises:
            OSError: The other end is gone.
        """
        data = msgspec.msgpack.encode(message)
        with self._lock:
            self._stream.write(_LENGTH.pack(len(data)) + data)
            self._stream.flush()


def read_from_supervisor(stream: IO[bytes]) -> Iterator[ToStage]:
    """Yield messages until the supervisor is gone."""
    decoder = msgspec.msgpack.Decoder(ToStage)
    return (decoder.decode(data) for data in _packets(stream))


def read_from_stage(stream: IO[bytes]) -> Iterator[ToSupervisor]:
    """Yield messages until the stage is gone."""
    decoder = msgspec.msgpack.Decoder(ToSupervisor)
    return (decoder.decode(data) for data in _packets(stream))


def _packets(stream: IO[bytes]) -> Iterator[bytes]:
    while True:
        prefix = stream.read(_LENGTH.size)
        if len(prefix) < _LENGTH.size:
            return
        (length,) = _LENGTH.unpack(prefix)
        data = stream.read(length)
        if len(data) < length:
            return
        yield data
