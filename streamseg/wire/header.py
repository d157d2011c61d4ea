"""The JSON header of each kind of message."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from streamseg.errors import LaterMessageError, MessageError
from streamseg.geometry import Box
from streamseg.messages import Dropped, Models, Timings
from streamseg.wire.limits import OBJECTS, RATIO, RUN_ID, SAFE_INTEGER, SIDE
from streamseg.wire.masks import ENCODINGS, MaskEntry

Int64 = str
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
    origin_seq: Int64 | None
    age_ms: float
    method: str
    predicted_iou: float | None = None
    stability: float | None = None
    colour: _Colour | None = None


class ResultHeader(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="result"):
    """Header of a published frame."""

    v: Literal[1] = 1
    run_id: RunId
    epoch: Int64
    seq: Int64
    source: str
    width: _Side
    height: _Side
    pixel_aspect: tuple[_Part, _Part] | None = None
    pts_ns: Int64
    t_capture_unix_ns: Int64
    timings: Timings
    dropped: Dropped
    models: Models
    boxes_seq: Int64 | None
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
    seq: Int64 | None
    t_unix_ns: Int64
    state: str | None = None
    detail: str | None = None


class EndHeader(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="end"):
    """Header of the last message of a run."""

    v: Literal[1] = 1
    run_id: RunId
    source: str
    seq: Int64 | None
    reason: str
    unreadable: Annotated[int, Meta(ge=0, le=SAFE_INTEGER)] | None = None
    others_follow: bool | None = None


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


def _has_unknown_kind(data: bytes | memoryview) -> bool:
    try:
        return _kind_decoder.decode(data).kind not in _KINDS
    except (ValueError, RecursionError):
        return False
