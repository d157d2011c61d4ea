"""The JSON header of each kind of message, and its conversion from and to `streamseg.messages`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from streamseg.errors import LaterMessageError, MessageError
from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import (
    SQUARE,
    Detection,
    Dropped,
    End,
    Event,
    Heartbeat,
    Models,
    ResultMessage,
    SourceState,
    Timings,
    TrackedObject,
)
from streamseg.wire.limits import INT64, LINE, OBJECTS, RATIO, RUN_ID, SAFE_INTEGER, SIDE
from streamseg.wire.masks import ENCODINGS, MaskEntry

_Int64 = str
"""A 64-bit integer as a decimal string: many JSON readers round numbers above 2**53."""
_Number = Annotated[int, Meta(ge=-SAFE_INTEGER, le=SAFE_INTEGER)]
_Part = Annotated[int, Meta(ge=1, le=RATIO)]
_Side = Annotated[int, Meta(ge=1, le=SIDE)]
RunId = Annotated[str, Meta(max_length=RUN_ID)]
_Colour = Annotated[str, Meta(pattern=r"^#[0-9a-f]{6}\Z")]

_SHOWN = 200
"""Characters of an error that are shown: it may quote the header."""

NULL = msgspec.Raw(b"null")


class ObjectEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One object. Its mask stays raw JSON, because this version cannot read the keys of a later version's encoding."""

    tracker_id: _Number | None
    class_id: _Number
    class_name: str
    confidence: float
    xyxy: Box
    mask: msgspec.Raw
    origin_seq: _Int64 | None
    age_ms: float
    method: str
    predicted_iou: float | None = None
    stability: float | None = None
    colour: _Colour | None = None


class ResultHeader(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="result"):
    """Header of a published frame."""

    v: Literal[1] = 1
    run_id: RunId
    epoch: _Int64
    seq: _Int64
    source: str
    width: _Side
    height: _Side
    pixel_aspect: tuple[_Part, _Part] | None = None
    pts_ns: _Int64
    t_capture_unix_ns: _Int64
    timings: Timings
    dropped: Dropped
    models: Models
    boxes_seq: _Int64 | None
    mode: str | None = None
    objects: Annotated[list[ObjectEntry], Meta(max_length=OBJECTS)]


class StateHeader(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="state"):
    """Header of a change of the source or of a stage."""

    v: Literal[1] = 1
    run_id: RunId
    source: str
    stage: str
    state: str
    detail: str | None = None


class HeartbeatHeader(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="heartbeat"):
    """Header of a heartbeat."""

    v: Literal[1] = 1
    run_id: RunId
    source: str
    seq: _Int64 | None
    t_unix_ns: _Int64
    state: str | None = None
    detail: str | None = None


class EndHeader(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="end"):
    """Header of the last message of a run."""

    v: Literal[1] = 1
    run_id: RunId
    source: str
    seq: _Int64 | None
    reason: str
    unreadable: Annotated[int, Meta(ge=0, le=SAFE_INTEGER)] | None = None


EventHeader = StateHeader | HeartbeatHeader | EndHeader
Header = ResultHeader | EventHeader


class _Kind(msgspec.Struct, frozen=True):
    """The one key that tells whether this version knows the others."""

    kind: str


class _Encoding(msgspec.Struct, frozen=True):
    """The one key that a mask has in every encoding."""

    enc: str


_KINDS = {kind.__struct_config__.tag for kind in (ResultHeader, StateHeader, HeartbeatHeader, EndHeader)}

_encoder = msgspec.json.Encoder()
_header_decoder: msgspec.json.Decoder[Header] = msgspec.json.Decoder(Header)
_kind_decoder = msgspec.json.Decoder(_Kind)
_encoding_decoder = msgspec.json.Decoder(_Encoding | None)
_entry_decoder = msgspec.json.Decoder(MaskEntry)


def to_json(value: msgspec.Struct) -> bytes:
    """Encode a header or a part of one.

    Raises:
        MessageError: A text in it is not Unicode.
    """
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError as error:
        raise MessageError(f"a text of the header cannot be sent as UTF-8: {error.reason}") from error


def from_json(data: bytes | memoryview) -> Header:
    """Decode a header of any kind.

    Raises:
        MessageError: It is not JSON, or not a header.
        LaterMessageError: Its kind is unknown.
    """
    try:
        str(data, "utf-8")  # the decoder reads no texts under unknown keys
        return _header_decoder.decode(data)
    except (ValueError, RecursionError) as error:
        kind = LaterMessageError if _has_unknown_kind(data) else MessageError
        raise kind(f"the header is not valid: {str(error)[:_SHOWN]}") from error


def mask_entry(mask: msgspec.Raw) -> MaskEntry | None:
    """Decode an object's mask; None for `null` and for an unknown encoding.

    Raises:
        MessageError: It is not a mask.
    """
    try:
        encoding = _encoding_decoder.decode(mask)
        return None if encoding is None or encoding.enc not in ENCODINGS else _entry_decoder.decode(mask)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"a mask of the header is not valid: {str(error)[:_SHOWN]}") from error


def result_header(result: ResultMessage, kept: Sequence[int], masks: Sequence[msgspec.Raw]) -> ResultHeader:
    """The header of a result.

    Args:
        result: Everything but the masks.
        kept: Indices of the objects to list.
        masks: The mask of each kept object as JSON.

    Raises:
        MessageError: An object's age is not finite.
    """
    return ResultHeader(
        run_id=result.run_id,
        epoch=str(result.epoch),
        seq=str(result.seq),
        source=result.source,
        width=result.width,
        height=result.height,
        pixel_aspect=result.pixel_aspect,
        pts_ns=str(result.pts_ns),
        t_capture_unix_ns=str(result.t_capture_unix_ns),
        timings=result.timings,
        dropped=result.dropped,
        models=result.models,
        boxes_seq=_to_text(result.boxes_seq),
        mode=result.mode,
        objects=[_object_entry(result.objects[index], mask) for index, mask in zip(kept, masks, strict=True)],
    )


def result_from_header(header: ResultHeader, masks: Sequence[Mask | None], jpeg: bytes | None) -> ResultMessage:
    """The result of a header, its unpacked masks and its picture.

    Raises:
        MessageError: A 64-bit number is malformed.
    """
    return ResultMessage(
        run_id=header.run_id,
        epoch=to_int("epoch", header.epoch),
        seq=to_int("seq", header.seq),
        source=header.source,
        width=header.width,
        height=header.height,
        pixel_aspect=header.pixel_aspect or SQUARE,
        pts_ns=to_int("pts_ns", header.pts_ns),
        t_capture_unix_ns=to_int("t_capture_unix_ns", header.t_capture_unix_ns),
        timings=header.timings,
        dropped=header.dropped,
        models=header.models,
        boxes_seq=_to_optional_int("boxes_seq", header.boxes_seq),
        mode=header.mode or "",
        objects=tuple(_tracked_object(entry, mask) for entry, mask in zip(header.objects, masks, strict=True)),
        jpeg=jpeg,
    )


def event_header(event: Event) -> EventHeader:
    """The header of any message that is not a result."""
    if isinstance(event, SourceState):
        return StateHeader(
            run_id=event.run_id,
            source=event.source,
            stage=event.stage,
            state=event.state,
            detail=_line(event.detail),
        )
    seq = _to_text(event.seq)
    if isinstance(event, Heartbeat):
        return HeartbeatHeader(
            run_id=event.run_id,
            source=event.source,
            seq=seq,
            t_unix_ns=str(event.t_unix_ns),
            state=event.state,
            detail=_line(event.detail),
        )
    return EndHeader(
        run_id=event.run_id,
        source=event.source,
        seq=seq,
        reason=_line(event.reason),
        unreadable=event.unreadable,
    )


def event_from_header(header: EventHeader) -> Event:
    """The message of a header without further parts.

    Raises:
        MessageError: A 64-bit number is malformed.
    """
    if isinstance(header, StateHeader):
        return SourceState(
            run_id=header.run_id,
            source=header.source,
            stage=header.stage,
            state=header.state,
            detail=header.detail or "",
        )
    seq = _to_optional_int("seq", header.seq)
    if isinstance(header, HeartbeatHeader):
        now_ns = to_int("t_unix_ns", header.t_unix_ns)
        return Heartbeat(
            run_id=header.run_id,
            source=header.source,
            seq=seq,
            t_unix_ns=now_ns,
            state=header.state or "",
            detail=header.detail or "",
        )
    return End(
        run_id=header.run_id,
        source=header.source,
        seq=seq,
        reason=header.reason,
        unreadable=header.unreadable or 0,
    )


def to_int(name: str, text: _Int64) -> int:
    """The number in the text of the key `name`.

    Raises:
        MessageError: It is no decimal number, or does not fit into 64 bits.
    """
    digits = text.removeprefix("-")
    if len(digits) > 19 or not (digits.isascii() and digits.isdigit()) or int(digits) > INT64:
        raise MessageError(f"{name}: expected a 64-bit number as a decimal string, not {text[:24]!r}")
    return int(text)


def _has_unknown_kind(data: bytes | memoryview) -> bool:
    try:
        return _kind_decoder.decode(data).kind not in _KINDS
    except (ValueError, RecursionError):
        return False


def _object_entry(item: TrackedObject, mask: msgspec.Raw) -> ObjectEntry:
    if not math.isfinite(item.age_ms):
        raise MessageError(f"an object's age_ms must be finite, not {item.age_ms}")
    detection = item.detection
    return ObjectEntry(
        tracker_id=detection.tracker_id,
        class_id=detection.class_id,
        class_name=detection.class_name,
        confidence=detection.confidence,
        xyxy=detection.xyxy,
        mask=mask,
        origin_seq=_to_text(item.origin_seq),
        age_ms=item.age_ms,
        method=item.method,
        predicted_iou=item.predicted_iou,
        stability=item.stability,
        colour=item.colour,
    )


def _tracked_object(entry: ObjectEntry, mask: Mask | None) -> TrackedObject:
    return TrackedObject(
        detection=Detection(
            xyxy=entry.xyxy,
            confidence=entry.confidence,
            class_id=entry.class_id,
            class_name=entry.class_name,
            tracker_id=entry.tracker_id,
        ),
        mask=mask,
        method=entry.method,
        origin_seq=_to_optional_int("origin_seq", entry.origin_seq),
        age_ms=entry.age_ms,
        predicted_iou=entry.predicted_iou,
        stability=entry.stability,
        colour=entry.colour,
    )


def _to_text(number: int | None) -> _Int64 | None:
    return None if number is None else str(number)


def _to_optional_int(name: str, text: _Int64 | None) -> int | None:
    return None if text is None else to_int(name, text)


def _line(text: str) -> str:
    # Python keeps the bytes of a file name that are not UTF-8 as lone surrogates, which JSON does not allow.
    return text[:LINE].encode("utf-8", "replace").decode("utf-8")
