"""Messages as ZeroMQ parts and back: topic, header, masks, picture. `SPEC.md` beside this file is the format's definition."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, cast, get_args

import msgspec

from streamseg.errors import MessageError, UsageError
from streamseg.messages import End, Heartbeat, Message, Result, SourceState, Timings
from streamseg.wire.header import (
    NULL,
    EndHeader,
    HeartbeatHeader,
    ResultHeader,
    StateHeader,
    decimal,
    from_json,
    header_of,
    mask_entry,
    optional_whole,
    result_of,
    to_json,
    whole,
)
from streamseg.wire.limits import HEADER_BYTES, OBJECTS, PART_BYTES, PARTS, SIDE
from streamseg.wire.masks import MaskEntry, pack_masks, unpack_masks

ResultView = Literal["masks", "clean", "overlay"]
"""Results alone, or with the bare or the drawn picture."""
View = Literal["masks", "clean", "overlay", "state"]
"""What a topic ends with: a view of the results, or the news of source and stages."""

PREFIX: Final = b"streamseg/1/"
"""How every topic of this version begins."""
STATE: Final = "state"

_LEDGER_BYTES: Final = 64
"""Left free in a header for what its timings says once the picture has been drawn."""
_PICTURES: Final = ("clean", "overlay")
_SOURCE: Final = re.compile(r"[a-z0-9_-]{1,64}")
_TOPIC: Final = re.compile(rb"streamseg/([0-9]{1,9})/([a-z0-9_-]{1,64})/([a-z]{1,16})")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A result as it goes out.

    Attributes:
        header: What its second part says.
        parts: Topic, header, masks and, in a view that has one, the picture.
        masks_limited: Masks left out to keep the message within its limits.
        picture_limited: Whether the picture was left out because it is larger than a part may be.
    """

    header: ResultHeader
    parts: list[bytes]
    masks_limited: int
    picture_limited: bool = False

    def stamped(self, timings: Timings) -> Encoded:
        """The same result with what its timings says later."""
        header = msgspec.structs.replace(self.header, timings=timings)
        return replace(self, header=header, parts=[self.parts[0], to_json(header), *self.parts[2:]])

    def as_view(self, source: str, view: ResultView, jpeg: bytes | None) -> Encoded:
        """The same result in another view, without encoding its masks again."""
        parts = [topic(source, view), *self.parts[1:3]]
        if view not in _PICTURES or jpeg is None:
            return replace(self, parts=parts, picture_limited=False)
        if len(jpeg) > PART_BYTES:
            return replace(self, parts=parts, picture_limited=True)
        return replace(self, parts=[*parts, jpeg], picture_limited=False)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A message with the topic it came under."""

    message: Message
    source: str
    view: View


def validate_source_name(name: str) -> str:
    """Give back a source's name that can stand in a topic.

    Raises:
        UsageError: It has other characters than a-z, 0-9, _ and -, or not 1 to 64 of them.
    """
    if not _SOURCE.fullmatch(name):
        raise UsageError(f"source name {name[:80]!r}: expected 1 to 64 of the characters a-z, 0-9, '_' and '-'")
    return name


def validate_view(view: str) -> View:
    """Give back a view that exists.

    Raises:
        UsageError: There is no such view.
    """
    if view not in get_args(View):
        raise UsageError(f"view {view[:80]!r}: expected one of {', '.join(get_args(View))}")
    return cast(View, view)


def topic(source: str, view: View) -> bytes:
    """The first part of a message, and what a subscriber of that view of that source subscribes to.

    Raises:
        UsageError: The source's name or the view is not one.
    """
    return PREFIX + f"{validate_source_name(source)}/{validate_view(view)}".encode()


def read_topic(part: bytes | memoryview) -> tuple[str, View]:
    """The source and the view that a topic names.

    Raises:
        MessageError: It is no topic of this version.
    """
    match = _TOPIC.fullmatch(part)
    if match is None:
        raise MessageError(f"topic {bytes(part[:80])!r}: expected streamseg/1/<source>/<view>")
    version, source, view = (group.decode("ascii") for group in match.groups())
    if version != "1":
        raise MessageError(
            f"the message is of version {version} of the wire format, this program reads version 1; update streamseg"
        )
    if view not in get_args(View):
        raise MessageError(f"topic {bytes(part[:80])!r}: the view is none of {', '.join(get_args(View))}")
    return source, cast(View, view)


def asks_for(subscription: bytes, source: str, view: View) -> bool:
    """Whether a subscription is reason enough to send a view.

    Any prefix of its topic is, but a view with a picture is only made for who names its whole topic: a subscriber that asks for
    everything does not make the publisher draw.
    """
    full = topic(source, view)
    return subscription == full if view in _PICTURES else full.startswith(subscription)


def encode_result(result: Result, view: ResultView) -> Encoded:
    """Make the parts of a result; its picture goes into views that have one.

    Beyond the limits the least confident objects lose their masks, and beyond the number or the size of objects that a header may
    hold they are left out.

    Raises:
        MessageError: The frame is too large, a mask leaves it, or a number or text cannot be sent.
    """
    if not (0 < result.width <= SIDE and 0 < result.height <= SIDE):
        raise MessageError(
            f"a frame of {result.width}x{result.height} cannot be sent: a side may have 1 to {SIDE} pixels"
        )
    by_confidence = sorted(range(len(result.objects)), key=lambda index: -result.objects[index].detection.confidence)
    count = min(len(by_confidence), OBJECTS)
    encoded = _encode_objects(result, by_confidence[:count])
    while len(encoded.parts[1]) > HEADER_BYTES - _LEDGER_BYTES and count:
        count //= 2
        encoded = _encode_objects(result, by_confidence[:count])
    _check_size(encoded.parts[1])
    return encoded.as_view(result.source, view, result.jpeg)


def encode_state(state: SourceState) -> list[bytes]:
    """The parts of a change of the source or of a stage.

    Raises:
        MessageError: It is longer than a header may be.
    """
    return _encode_news(
        state.source,
        StateHeader(
            run_id=state.run_id,
            source=state.source,
            stage=state.stage,
            state=state.state,
            detail=_unicode(state.detail),
        ),
    )


def encode_heartbeat(heartbeat: Heartbeat) -> list[bytes]:
    """The parts of a sign of life."""
    seq, now = decimal(heartbeat.seq), str(heartbeat.t_unix_ns)
    return _encode_news(
        heartbeat.source, HeartbeatHeader(run_id=heartbeat.run_id, source=heartbeat.source, seq=seq, t_unix_ns=now)
    )


def encode_end(end: End) -> list[bytes]:
    """The parts of the last message of a run.

    Raises:
        MessageError: It is longer than a header may be.
    """
    return _encode_news(
        end.source, EndHeader(run_id=end.run_id, source=end.source, seq=decimal(end.seq), reason=_unicode(end.reason))
    )


def decode(parts: Sequence[bytes | memoryview]) -> Decoded:
    """Read a message of any kind.

    Unknown keys are ignored. An object whose mask has an unknown encoding keeps everything but the mask.

    Raises:
        MessageError: The message breaks the format or its limits, or is of another version.
    """
    if not 2 <= len(parts) <= PARTS:
        raise MessageError(f"a message has 2 to {PARTS} parts, not {len(parts)}")
    if (largest := max(map(len, parts))) > PART_BYTES:
        raise MessageError(f"a part of {largest} bytes is larger than the limit of {PART_BYTES}")
    source, view = read_topic(parts[0])
    _check_size(parts[1])
    header = from_json(parts[1])
    if header.source != source:
        raise MessageError(f"the header is of source {header.source[:80]!r}, its topic of {source!r}")
    if isinstance(header, ResultHeader) == (view == STATE):
        raise MessageError(f"a {header.__struct_config__.tag} does not belong into the view {view}")
    message = _read_result(header, parts) if isinstance(header, ResultHeader) else _read_news(header)
    return Decoded(message, source, view)


def _encode_objects(result: Result, kept_by_confidence: list[int]) -> Encoded:
    kept = sorted(kept_by_confidence)
    position = {index: place for place, index in enumerate(kept)}
    masks = [result.objects[index].mask for index in kept]
    packed = pack_masks(masks, [position[index] for index in kept_by_confidence], result.width, result.height)
    header = header_of(result, kept, [_raw(entry) for entry in packed.entries])
    in_all = sum(item.mask is not None for item in result.objects)
    return Encoded(
        header, [b"", to_json(header), packed.blob], packed.limited + in_all - sum(mask is not None for mask in masks)
    )


def _raw(entry: MaskEntry | None) -> msgspec.Raw:
    return NULL if entry is None else msgspec.Raw(to_json(entry))


def _encode_news(source: str, header: StateHeader | HeartbeatHeader | EndHeader) -> list[bytes]:
    data = to_json(header)
    _check_size(data)
    return [topic(source, STATE), data]


def _check_size(header: bytes | memoryview) -> None:
    if len(header) > HEADER_BYTES:
        raise MessageError(f"a header of {len(header)} bytes is larger than the limit of {HEADER_BYTES}")


def _unicode(text: str) -> str:
    # A file's name may hold bytes that are not UTF-8; Python keeps them as surrogates, which JSON cannot carry.
    return text.encode("utf-8", "replace").decode("utf-8")


def _read_result(header: ResultHeader, parts: Sequence[bytes | memoryview]) -> Result:
    if len(parts) < 3:
        raise MessageError("a result has 3 or 4 parts, not 2")
    entries = [mask_entry(item.mask) for item in header.objects]
    masks = unpack_masks(entries, parts[2], header.width, header.height)
    return result_of(header, masks, bytes(parts[3]) if len(parts) == PARTS else None)


def _read_news(header: StateHeader | HeartbeatHeader | EndHeader) -> SourceState | Heartbeat | End:
    if isinstance(header, StateHeader):
        return SourceState(
            run_id=header.run_id, source=header.source, stage=header.stage, state=header.state, detail=header.detail
        )
    seq = optional_whole("seq", header.seq)
    if isinstance(header, HeartbeatHeader):
        now = whole("t_unix_ns", header.t_unix_ns)
        return Heartbeat(run_id=header.run_id, source=header.source, seq=seq, t_unix_ns=now)
    return End(run_id=header.run_id, source=header.source, seq=seq, reason=header.reason)
