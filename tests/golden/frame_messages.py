"""The golden vectors of the messages between a program that sends frames and a pipeline."""

from __future__ import annotations

import base64
import json

from golden.samples import JPEG
from golden.vector import Json, Vector

from streamseg.push.jpeg import jpeg_size
from streamseg.wire.frames import Bye, FrameHeader, Hello, Next, Refused, ToProgram, encode_frame, encode_signal

BGR = bytes(range(18))
HEADER = FrameHeader(
    source="robot",
    seq="41",
    width=3,
    height=2,
    encoding="bgr8",
    t_capture_ns="81866700000",
    clock="b9a2c7de-8f0a-4c57-9f2b-0d1f6a3e5c11",
)


def frame_vectors() -> list[Vector]:
    """Every vector."""
    size = jpeg_size(JPEG)
    assert size is not None
    jpeg = FrameHeader(source="robot", seq="0", width=size[0], height=size[1], encoding="jpeg", t_capture_ns="-5")
    return [
        _signal("hello", "The first message of a program", Hello(source="robot")),
        _frame("frame-bgr8", "Two rows of three pixels", HEADER, BGR),
        _frame("frame-jpeg", "A JPEG, and a clock without a name", jpeg, JPEG),
        _signal("bye", "The last message of a program", Bye(source="robot")),
        _signal("next", "The pipeline waits for the first frame", Next()),
        _signal("next-taken", "The pipeline has taken frame 41", Next(taken="41")),
        _signal("refused", "The pipeline refuses a second sender", Refused(reason="source robot has another sender")),
        _rejected("reject-short-frame", "A byte is missing", BGR[:-1]),
        _rejected("reject-unknown-encoding", "An encoding that does not exist", BGR, encoding="rgb8"),
        _rejected("reject-large-side", "A side of 8193 pixels", bytes(8193 * 2 * 3), width=8193),
        _rejected("reject-number", "A number that is no text", BGR, seq=41),
        _rejected("reject-version", "Version 2", BGR, v=2),
    ]


def describe_frame(message: Hello | FrameHeader | Bye | ToProgram, pixels: bytes | memoryview) -> Json:
    """A message in plain JSON, with the pixels in base64."""
    kind = str(message.__struct_config__.tag)
    described: Json = {"kind": kind, **{key: getattr(message, key) for key in message.__struct_fields__ if key != "v"}}
    return {**described, "pixels": base64.b64encode(pixels).decode()} if isinstance(message, FrameHeader) else described


def _signal(name: str, about: str, message: Hello | Bye | ToProgram) -> Vector:
    return Vector(name, about, encode_signal(message), describe_frame(message, b""))


def _frame(name: str, about: str, header: FrameHeader, pixels: bytes) -> Vector:
    return Vector(name, about, [bytes(part) for part in encode_frame(header, pixels)], describe_frame(header, pixels))


def _rejected(name: str, about: str, pixels: bytes, **changes: object) -> Vector:
    header = {**json.loads(bytes(encode_frame(HEADER, b"")[0])), **changes}
    return Vector(name, about, [json.dumps(header).encode(), pixels], None)
