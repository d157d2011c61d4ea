"""Messages between the supervisor and a stage, length-prefixed over the child's standard input and output.

They are MessagePack, or JSON if a text is not Unicode: MessagePack cannot hold a file name that is not UTF-8, which
Python has as lone surrogates.

Plain pipes survive a `kill -9` of either end, and end of file shows that the other end is gone.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from typing import IO, Any, Final

import msgspec

from streamseg.config import Config, RunSource
from streamseg.ipc.links import LinkAddress
from streamseg.ipc.ring import RingName
from streamseg.messages import STARTING, Dropped, Models
from streamseg.models.options import Compute

_LENGTH = struct.Struct("<I")
_JSON_START: Final = b"{"
"""No message starts like this in MessagePack: there it is a number."""


class LaneSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One source as a new stage process finds it.

    Attributes:
        run_id: Of its messages.
        ring: Prefix of the names of the source's rings in shared memory.
        epoch: Epoch of capture's next ring.
        snapshot: Name of the file in which this stage keeps its state across restarts.
        resume_after: The frame after which this process continues; None to begin with any frame. In every-frame mode
            the newest that every acknowledging stage is done with; in live mode the newest that this stage
            acknowledged, or that capture wrote.
        highest_acknowledged: Highest frame that earlier processes of this stage acknowledged; None without one. In
            every-frame mode, frames from `resume_after` to this one arrive again: handle them, but publish or record
            none twice. In live mode none does.
        dropped: Frames and masks lost up to the newest published frame. The stages continue to count from there.
        state: Of the source, as heartbeats have it; `detail` is one line on it for people.
    """

    source: RunSource
    run_id: str
    ring: str
    epoch: int
    snapshot: str
    resume_after: int | None
    highest_acknowledged: int | None
    dropped: Dropped = Dropped()
    state: str = STARTING
    detail: str = ""

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name


class StageSpec(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first message to a stage: everything it needs to prepare itself.

    Attributes:
        title: Name of the process for people: the stage, with the source in front if several have one.
        lanes: The sources that this process serves: one for a stage per source, all for a shared one.
        link_key: Authenticates messages on links.
        links: Those that begin or end at this process.
        hub: Address at which publish processes connect to the hub.
        config: The settings, with models and weights in place of `auto`; for a stage per source, `Config.of` that one.
        models: The models' names, for subscribers.
        threads: The stage's thread budget.
        niceness: Added to the process's own.
        log_level: Of the logging module.
    """

    stage: str
    title: str
    config: Config
    lanes: tuple[LaneSpec, ...]
    link_key: bytes
    links: tuple[LinkAddress, ...]
    hub: str
    models: Models
    threads: int
    niceness: int
    log_level: int

    @property
    def lane(self) -> LaneSpec:
        """The one lane of a stage that runs once per source."""
        (lane,) = self.lanes
        return lane

    @property
    def compute(self) -> Compute:
        """Where this stage's model computes."""
        return Compute(device=self.config.device, threads=self.threads)

    @property
    def live(self) -> bool:
        """Whether the newest frame wins; in every-frame mode none is dropped."""
        return self.config.resolved_mode == "live"


class Start(msgspec.Struct, frozen=True, tag=True):
    """All stages are ready: frames may flow.

    Attributes:
        origin_ns: The monotonic clock when the frames of the process's source first flowed.
        after_pts_ns: For capture: presentation time of the source's last published frame, -1 before the first.
    """

    origin_ns: int
    after_pts_ns: int


class Stop(msgspec.Struct, frozen=True, tag=True):
    """End in an orderly way; `reason` goes on the wire."""

    reason: str


class Released(msgspec.Struct, frozen=True, tag=True):
    """To capture: it may overwrite the frames up to `seq`, which every acknowledging stage is done with."""

    source: str
    seq: int


class Resend(msgspec.Struct, frozen=True, tag=True):
    """A stage downstream is new: repeat what you sent for the frames after `after`."""

    source: str
    after: int


class OthersFollow(msgspec.Struct, frozen=True, tag=True):
    """To publish: whether other sources of the run start later."""

    follow: bool


class Announce(msgspec.Struct, frozen=True, tag=True):
    """To publish: put a change of the source or of a stage on the wire."""

    source: str
    stage: str
    state: str
    detail: str


class AddLane(msgspec.Struct, frozen=True, tag=True):
    """To a shared stage: serve one more source.

    Attributes:
        links: Those of the source that begin or end at this process.
        config: The settings with this source.
    """

    lane: LaneSpec
    links: tuple[LinkAddress, ...]
    config: Config


class RemoveLane(msgspec.Struct, frozen=True, tag=True):
    """To a shared stage: close what belongs to a source, and report `LaneRemoved`."""

    source: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The stage is prepared; `detail` describes what it runs."""

    detail: str
    frame_count: int | None = None


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The stage cannot continue; `error` names a class of `streamseg.errors`."""

    error: str
    message: str


class Progress(msgspec.Struct, frozen=True, tag=True):
    """The stage's loop turns.

    Attributes:
        turn_ns: Median length of the latest turns; 0 in the middle of a long one.
    """

    turn_ns: int


class LogLine(msgspec.Struct, frozen=True, tag=True):
    """One log record of a stage."""

    level: int
    text: str


class RingCreated(msgspec.Struct, frozen=True, tag=True):
    """Capture made a new ring and no longer writes to the one before."""

    source: str
    ring: RingName


class SourceChanged(msgspec.Struct, frozen=True, tag=True):
    """Capture lost or regained its source."""

    source: str
    state: str
    detail: str


class Acknowledge(msgspec.Struct, frozen=True, tag=True):
    """An acknowledging stage no longer needs the source's frames up to `seq`."""

    source: str
    seq: int


class Recorded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Record has written a frame, or missed it in live mode. This acknowledges every frame of the source up to `seq`.

    Attributes:
        record_replaced: Results that a newer one replaced before record received them, since publish last started.
        record_overrun: Frames overwritten in shared memory before record read them, since it last started.
    """

    source: str
    seq: int
    record_replaced: int
    record_overrun: int


class PublishedMask(msgspec.Struct, frozen=True, array_like=True):
    """A mask of a published frame: the method that made it, and its age."""

    method: str
    age_ms: float


class Published(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Publish has sent a frame. This acknowledges every frame of the source up to `seq`.

    Attributes:
        age_ms: Milliseconds from that frame's capture to its publishing.
        boxes_seq: The frame on which its boxes were found; None before the detector's first result.
        masks_seq: The newest segmented keyframe at that time; None without one.
        objects: Number of objects in that frame.
        masks: Those of that frame.
        classes: Names of the classes in that frame.
        dropped: Frames and masks lost since the run started.
        suggestion: What would help while live masks starve; None while they do not.
    """

    source: str
    seq: int
    pts_ns: int
    age_ms: float
    boxes_seq: int | None
    masks_seq: int | None
    objects: int
    masks: tuple[PublishedMask, ...]
    classes: tuple[str, ...]
    dropped: Dropped
    suggestion: str | None


class Subscribers(msgspec.Struct, frozen=True, tag=True):
    """The number of programs connected to the hub has changed."""

    count: int


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The last stage is done with the source's last frame: record if the run has one, otherwise publish."""

    source: str
    seq: int | None
    reason: str


class LaneRemoved(msgspec.Struct, frozen=True, tag=True):
    """A shared stage no longer serves a source: no report on it follows."""

    source: str


class Requested(msgspec.Struct, frozen=True, tag=True):
    """Another program sent a valid request to the hub."""

    client: bytes
    request: bytes


class Answer(msgspec.Struct, frozen=True, tag=True):
    """To the hub: the reply to a request."""

    client: bytes
    reply: bytes


ToStage = StageSpec | Start | Stop | Released | Resend | Announce | OthersFollow | AddLane | RemoveLane | Answer
ToSupervisor = (
    Ready
    | Failed
    | Progress
    | LogLine
    | RingCreated
    | SourceChanged
    | Acknowledge
    | Published
    | Recorded
    | Subscribers
    | Finished
    | LaneRemoved
    | Requested
)


class StageMessageWriter:
    """Writes messages; safe to use from several threads."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: ToStage | ToSupervisor) -> None:
        """Write one message.

        Raises:
            OSError: The other end is gone.
        """
        data = packet(message)
        with self._lock:
            self._stream.write(data)
            self._stream.flush()


def read_from_supervisor(stream: IO[bytes]) -> Iterator[ToStage]:
    """Yield messages until the supervisor is gone."""
    return _messages(stream, ToStage)


def read_from_stage(stream: IO[bytes]) -> Iterator[ToSupervisor]:
    """Yield messages until the stage is gone."""
    return _messages(stream, ToSupervisor)


def packet(message: ToStage | ToSupervisor) -> bytes:
    """A message with its length in front, as the pipes carry it."""
    data = _encode(message)
    return _LENGTH.pack(len(data)) + data


def _encode(message: ToStage | ToSupervisor) -> bytes:
    try:
        return msgspec.msgpack.encode(message)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(message)).encode("ascii")


def _messages(stream: IO[bytes], kind: object) -> Iterator[Any]:
    decoder = msgspec.msgpack.Decoder(kind)
    for data in _packets(stream):
        yield msgspec.convert(json.loads(data), kind) if data.startswith(_JSON_START) else decoder.decode(data)


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
