"""Messages between a program that sends frames and the pipeline. `SPEC.md` beside this file defines the format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from streamseg.errors import MessageError
from streamseg.wire.header import Int64, to_json
from streamseg.wire.limits import CLOCK, FRAME_BYTES, FRAME_HEADER_BYTES, INT64, REASON, SIDE

Encoding = Literal["bgr8", "jpeg"]
"""Of a frame's pixels: rows from top to bottom of blue, green and red bytes, or a JPEG file."""
_Side = Annotated[int, Meta(ge=1, le=SIDE)]
_Decimal = Annotated[str, Meta(pattern=r"^-?[0-9]{1,19}\Z")]
_SHOWN: Final = 200


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="hello"):
    """The first message over a connection: this program has frames for that source."""

    v: Literal[1] = 1
    source: str


class FrameHeader(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="frame"):
    """One frame, whose pixels are the next part.

    Attributes:
        seq: Number of the frame, from 0, in the program's life.
        t_capture_ns: When it was captured, on the program's monotonic clock.
        clock: Names that clock: it is the pipeline's if both names are equal. None compares with none.
    """

    v: Literal[1] = 1
    source: str
    seq: _Decimal
    width: _Side
    height: _Side
    encoding: Encoding
    t_capture_ns: _Decimal
    clock: Annotated[str, Meta(max_length=CLOCK)] | None = None


class Bye(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="bye"):
    """The program sends no more frames."""

    v: Literal[1] = 1
    source: str


class Next(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="next"):
    """The pipeline waits for one frame.

    Attributes:
        taken: Number of the frame that it took last from this program; None before the first.
    """

    v: Literal[1] = 1
    taken: Int64 | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="refused"):
    """The pipeline does not use what came last; `reason` is one line for people."""

    v: Literal[1] = 1
    reason: Annotated[str, Meta(max_length=REASON)]


ToPipeline = Hello | FrameHeader | Bye
ToProgram = Next | Refused
_Message = TypeVar("_Message", bound=ToPipeline | ToProgram)

_to_pipeline: msgspec.json.Decoder[ToPipeline] = msgspec.json.Decoder(ToPipeline)
_to_program: msgspec.json.Decoder[ToProgram] = msgspec.json.Decoder(ToProgram)


def encode_frame(header: FrameHeader, pixels: bytes | memoryview) -> list[bytes | memoryview]:
    """The parts of a frame."""
    return [to_json(header), pixels]


def encode_signal(message: Hello | Bye | ToProgram) -> list[bytes]:
    """The one part of every other message."""
    return [to_json(message)]


def read_from_program(parts: Sequence[memoryview]) -> tuple[ToPipeline, memoryview]:
    """Decode what a program sent, with the pixels of a frame, which fit its header; a JPEG is not looked into.

    Raises:
        MessageError: It is not such a message.
    """
    message = _decode(parts, _to_pipeline)
    if not isinstance(message, FrameHeader):
        _check_parts(parts, 1)
        return message, memoryview(b"")
    _check_parts(parts, 2)
    pixels = parts[1]
    if abs(int(message.t_capture_ns)) > INT64 or abs(int(message.seq)) > INT64:
        raise MessageError("a number of the frame's header has more than 64 bits")
    size = message.width * message.height * 3
    if message.encoding == "bgr8" and pixels.nbytes != size:
        raise MessageError(
            f"a frame of {message.width}x{message.height} pixels in bgr8 has {size:,} bytes, not {pixels.nbytes:,}"
        )
    if pixels.nbytes > FRAME_BYTES:
        raise MessageError(f"a frame has {pixels.nbytes:,} bytes; at most {FRAME_BYTES:,} are taken: send it as JPEG")
    return message, pixels


def read_from_pipeline(parts: Sequence[memoryview]) -> ToProgram:
    """Decode what a pipeline answered.

    Raises:
        MessageError: It is not such a message.
    """
    _check_parts(parts, 1)
    return _decode(parts, _to_program)


def _decode(parts: Sequence[memoryview], decoder: msgspec.json.Decoder[_Message]) -> _Message:
    if not parts or parts[0].nbytes > FRAME_HEADER_BYTES:
        raise MessageError(f"a message has no header, or one of more than {FRAME_HEADER_BYTES} bytes")
    try:
        return decoder.decode(parts[0])
    except (ValueError, RecursionError) as error:
        raise MessageError(f"the header is not valid: {str(error)[:_SHOWN]}") from error


def _check_parts(parts: Sequence[memoryview], expected: int) -> None:
    if len(parts) != expected:
        raise MessageError(f"a message of this kind has {expected} part{'s' * (expected > 1)}, not {len(parts)}")
