"""The header of each kind of message, as it stands in JSON, and what it is made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from streamseg.errors import MessageError
from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Detection, Dropped, Models, Result, Timings, TrackedObject
from streamseg.wire.limits import INT64, OBJECTS, SAFE_INTEGER, SIDE
from streamseg.wire.masks import ENCODINGS, MaskEntry

Decimal = str
"""A 64-bit number as a decimal string: JSON readers that keep numbers as doubles would round it above 2**53."""

_Number = Annotated[int, Meta(ge=-SAFE_INTEGER, le=SAFE_INTEGER)]
_Side = Annotated[int, Meta(ge=1, le=SIDE)]

NULL = msgspec.Raw(b"null")


class ObjectEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One object; its mask stays JSON, because only `enc` is known of an encoding of a later version."""

    tracker_id: _Number | None
    class_id: _Number
    class_name: str
    confidence: float
    xyxy: Box
    mask: msgspec.Raw
    origin_seq: Decimal | None
    age_ms: float
    method: str
    predicted_iou: float | None = None
    stability: float | None = None


class ResultHeader(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="result"):
    """Header of a published frame."""

    v: Literal[1] = 1
    run_id: str
    epoch: Decimal
    seq: Decimal
    source: str
    width: _Side
    height: _Side
    pts_ns: Decimal
    t_capture_unix_ns: Decimal
    timings: Timings
    dropped: Dropped
    models: Models
    boxes_seq: Decimal | None
    objects: Annotated[list[ObjectEntry], Meta(max_length=OBJECTS)]


class StateHeader(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="state"):
    """Header of a change of the source or of a stage."""

    v: Literal[1] = 1
    run_id: str
    source: str
    stage: str
    state: str
    detail: str = ""


class HeartbeatHeader(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="heartbeat"):
    """Header of the sign of life."""

    v: Literal[1] = 1
    run_id: str
    source: str
    seq: Decimal | None
    t_unix_ns: Decimal


class EndHeader(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="end"):
    """Header of the last message of a run."""

    v: Literal[1] = 1
    run_id: str
    source: str
    seq: Decimal | None
    reason: str


Header = ResultHeader | StateHeader | HeartbeatHeader | EndHeader


class _MaskEncoding(msgspec.Struct, frozen=True):
    """What every mask's entry has, whatever its encoding."""

    enc: str


_encoder = msgspec.json.Encoder()
_header_decoder: msgspec.json.Decoder[Header] = msgspec.json.Decoder(Header)
_encoding_decoder = msgspec.json.Decoder(_MaskEncoding | None)
_entry_decoder = msgspec.json.Decoder(MaskEntry)


def header_of(result: Result, kept: Sequence[int], masks: Sequence[msgspec.Raw]) -> ResultHeader:
    """The header of a result.

    Args:
        result: Its objects and everything else but the masks.
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
        pts_ns=str(result.pts_ns),
        t_capture_unix_ns=str(result.t_capture_unix_ns),
        timings=result.timings,
        dropped=result.dropped,
        models=result.models,
        boxes_seq=decimal(result.boxes_seq),
        objects=[_object_entry(result.objects[index], mask) for index, mask in zip(kept, masks, strict=True)],
    )


def result_of(header: ResultHeader, masks: Sequence[Mask | None], jpeg: bytes | None) -> Result:
    """The result that a header, its unpacked masks and its picture describe.

    Raises:
        MessageError: A 64-bit number is not one.
    """
    return Result(
        run_id=header.run_id,
        epoch=whole("epoch", header.epoch),
        seq=whole("seq", header.seq),
        source=header.source,
        width=header.width,
        height=header.height,
        pts_ns=whole("pts_ns", header.pts_ns),
        t_capture_unix_ns=whole("t_capture_unix_ns", header.t_capture_unix_ns),
        timings=header.timings,
        dropped=header.dropped,
        models=header.models,
        boxes_seq=optional_whole("boxes_seq", header.boxes_seq),
        objects=tuple(_tracked_object(entry, mask) for entry, mask in zip(header.objects, masks, strict=True)),
        jpeg=jpeg,
    )


def to_json(value: msgspec.Struct) -> bytes:
    """JSON of a header or of a part of one.

    Raises:
        MessageError: A text in it is not Unicode.
    """
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError as error:
        raise MessageError(f"a text of the header cannot be sent as UTF-8: {error.reason}") from error


def from_json(data: bytes | memoryview) -> Header:
    """The header of any kind.

    Raises:
        MessageError: It is not JSON, or not a header.
    """
    try:
        return _header_decoder.decode(data)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"the header is not valid: {error}") from error


def mask_entry(mask: msgspec.Raw) -> MaskEntry | None:
    """The entry of an object's mask; None where there is no mask, or one of an encoding that is not known.

    Raises:
        MessageError: It is not an entry.
    """
    try:
        encoding = _encoding_decoder.decode(mask)
        return None if encoding is None or encoding.enc not in ENCODINGS else _entry_decoder.decode(mask)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"a mask of the header is not valid: {error}") from error


def decimal(number: int | None) -> Decimal | None:
    """A 64-bit number, or its absence, as it is sent."""
    return None if number is None else str(number)


def whole(name: str, text: Decimal) -> int:
    """The number that a decimal string of the header holds.

    Raises:
        MessageError: It is not a whole number of 64 bits. The message names the key.
    """
    digits = text.removeprefix("-")
    if len(digits) > 19 or not (digits.isascii() and digits.isdigit()) or int(digits) > INT64:
        raise MessageError(f"{name}: expected a 64-bit number as a decimal string, not {text[:24]!r}")
    return int(text)


def optional_whole(name: str, text: Decimal | None) -> int | None:
    """Like `whole`, where the number may be absent."""
    return None if text is None else whole(name, text)


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
        origin_seq=decimal(item.origin_seq),
        age_ms=item.age_ms,
        method=item.method,
        predicted_iou=item.predicted_iou,
        stability=item.stability,
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
        origin_seq=optional_whole("origin_seq", entry.origin_seq),
        age_ms=entry.age_ms,
        predicted_iou=entry.predicted_iou,
        stability=entry.stability,
    )
