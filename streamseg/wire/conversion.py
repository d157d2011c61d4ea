"""Converts `streamseg.messages` to headers and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from streamseg.errors import MessageError
from streamseg.masks import Mask
from streamseg.messages import (
    SQUARE,
    Detection,
    End,
    Event,
    Heartbeat,
    ResultMessage,
    SourceState,
    TrackedObject,
)
from streamseg.wire.header import (
    EndHeader,
    EventHeader,
    HeartbeatHeader,
    Int64,
    ObjectEntry,
    ResultHeader,
    StateHeader,
)
from streamseg.wire.limits import INT64, LINE


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
        others_follow=event.others_follow,
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
        others_follow=header.others_follow or False,
    )


def to_int(name: str, text: Int64) -> int:
    """The number in the text of the key `name`.

    Raises:
        MessageError: It is no decimal number, or does not fit into 64 bits.
    """
    digits = text.removeprefix("-")
    if len(digits) > 19 or not (digits.isascii() and digits.isdigit()) or int(digits) > INT64:
        raise MessageError(f"{name}: expected a 64-bit number as a decimal string, not {text[:24]!r}")
    return int(text)


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


def _to_text(number: int | None) -> Int64 | None:
    return None if number is None else str(number)


def _to_optional_int(name: str, text: Int64 | None) -> int | None:
    return None if text is None else to_int(name, text)


def _line(text: str) -> str:
    # Python keeps the bytes of a file name that are not UTF-8 as lone surrogates, which JSON does not allow.
    return text[:LINE].encode("utf-8", "replace").decode("utf-8")
