"""Messages as ZeroMQ parts: topic, header, masks, picture. `SPEC.md` beside this file defines the format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, cast, get_args

import msgspec

from streamseg.errors import LaterMessageError, MessageError, UsageError
from streamseg.messages import Event, Message, ResultMessage, Timings
from streamseg.wire.conversion import event_from_header, event_header, result_from_header, result_header
from streamseg.wire.header import NULL, ResultHeader, from_json, mask_entry, to_json
from streamseg.wire.limits import COUNTS_BYTES, EVENT_BYTES, HEADER_BYTES, OBJECTS, PART_BYTES, PARTS, SIDE
from streamseg.wire.masks import pack_masks, unpack_masks

ResultView = Literal["masks", "clean", "overlay"]
"""Results alone, with the plain picture, or with the rendered one."""
View = Literal["masks", "clean", "overlay", "state"]
"""The end of a topic: a view of the results, or the events of source and stages."""

PREFIX: Final = b"streamseg/1/"
"""The start of every topic of this version."""
STATE: Final = "state"

_TIMINGS_BYTES: Final = 64
"""Room in a header for timings that follow once the picture is rendered."""
_PICTURES: Final = ("clean", "overlay")
_SOURCE: Final = re.compile(r"[a-z0-9_-]{1,64}")
_TOPIC: Final = re.compile(rb"streamseg/([0-9]{1,9})/([a-z0-9_-]{1,64})/([a-z]{1,16})")


def validate_source_name(name: str) -> str:
    """Return a source name that is valid in a topic.

    Raises:
        UsageError: It is not 1 to 64 of the characters a-z, 0-9, _ and -.
    """
    if not _SOURCE.fullmatch(name):
        raise UsageError(f"source name {name[:80]!r}: expected 1 to 64 of the characters a-z, 0-9, '_' and '-'")
    return name


def validate_view(view: str) -> View:
    """Return the name of an existing view.

    Raises:
        UsageError: There is no such view.
    """
    if view not in get_args(View):
        raise UsageError(f"view {view[:80]!r}: expected one of {', '.join(get_args(View))}")
    return cast(View, view)


def topic(source: str, view: View) -> bytes:
    """The first part of a message, and the subscription to that view of that source.

    Raises:
        UsageError: The source name or the view is invalid.
    """
    return PREFIX + f"{validate_source_name(source)}/{validate_view(view)}".encode()


def read_topic(part: bytes | memoryview) -> tuple[str, View]:
    """The source and the view of a topic.

    Raises:
        MessageError: It is not a topic of this version.
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
        raise LaterMessageError(f"topic {bytes(part[:80])!r}: the view is none of {', '.join(get_args(View))}")
    return source, cast(View, view)


def requests_view(subscription: bytes, source: str, view: View) -> bool:
    """Whether a subscription makes the publisher send a view.

    Any prefix of the topic does, except for a view with a picture, which needs the whole topic: a subscription to
    everything must not make the publisher render.
    """
    full = topic(source, view)
    return subscription == full if view in _PICTURES else full.startswith(subscription)


@dataclass(frozen=True, slots=True)
class EncodedResult:
    """A result in one view.

    Attributes:
        header: The second part before it was encoded.
        parts: Topic, header, masks and, in a view that has one, the picture.
        masks_limited: Masks left out to keep the message within its limits.
    """

    header: ResultHeader
    parts: list[bytes]
    masks_limited: int

    def with_timings(self, timings: Timings) -> EncodedResult:
        """The same result with other timings."""
        header = msgspec.structs.replace(self.header, timings=timings)
        return replace(self, header=header, parts=[self.parts[0], to_json(header), *self.parts[2:]])

    def as_view(self, source: str, view: ResultView, jpeg: bytes | None) -> EncodedResult:
        """The same result in another view, without encoding its masks again. A picture beyond the limit is left out."""
        parts = [topic(source, view), *self.parts[1:3]]
        if view in _PICTURES and jpeg is not None and len(jpeg) <= PART_BYTES:
            parts.append(jpeg)
        return replace(self, parts=parts)


def encode_result(result: ResultMessage, view: ResultView) -> EncodedResult:
    """Encode a result; its picture only in a view that has one.

    Beyond the limits, the least confident objects lose their masks. Beyond the limits of the header, they are left out.

    Raises:
        MessageError: The frame is too large, a mask leaves it, or a number or text cannot be sent.
    """
    if not (0 < result.width <= SIDE and 0 < result.height <= SIDE):
        raise MessageError(
            f"a frame of {result.width}x{result.height} cannot be sent: a side may have 1 to {SIDE} pixels"
        )
    by_confidence = _by_confidence(result)
    count = min(len(by_confidence), OBJECTS)
    encoded = _encode_objects(result, by_confidence[:count])
    while len(encoded.parts[1]) > HEADER_BYTES - _TIMINGS_BYTES and count:
        count //= 2
        encoded = _encode_objects(result, by_confidence[:count])
    _check_size(encoded.parts[1], HEADER_BYTES)
    return encoded.as_view(result.source, view, result.jpeg)


def encode_event(event: Event) -> list[bytes]:
    """The parts of a message that is not a result.

    Raises:
        MessageError: It is longer than a header may be.
    """
    data = to_json(event_header(event))
    _check_size(data, EVENT_BYTES)
    return [topic(event.source, STATE), data]


def json_line(result: ResultMessage) -> bytes:
    """A result as one line of JSON, without the line feed: its header, with masks in COCO's run-length encoding.

    The most confident objects have their masks while the run lengths of these fit into `COUNTS_BYTES`; the first mask
    that does not fit is null, and all after it.

    Raises:
        MessageError: A number is not finite, or a text is not Unicode.
    """
    masks = [NULL] * len(result.objects)
    left = COUNTS_BYTES
    for index in _by_confidence(result):
        mask = result.objects[index].mask
        if mask is None:
            continue
        rle = mask.short_rle(result.height, result.width, left)
        if rle is None:
            break
        left -= len(rle["counts"])
        masks[index] = msgspec.Raw(msgspec.json.encode(rle))
    return to_json(result_header(result, range(len(masks)), masks))


def check_parts(parts: Sequence[bytes | memoryview]) -> tuple[str, View]:
    """The source and the view of a message whose number and size of parts are valid.

    Raises:
        MessageError: They are not, or the topic is not of this version.
    """
    if not 2 <= len(parts) <= PARTS:
        raise MessageError(f"a message has 2 to {PARTS} parts, not {len(parts)}")
    if (largest := max(map(len, parts))) > PART_BYTES:
        raise MessageError(f"a part of {largest} bytes is larger than the limit of {PART_BYTES}")
    return read_topic(parts[0])


def used_parts(view: View) -> int:
    """How many parts of a message of a view a reader uses at most."""
    return {STATE: 2, "masks": 3}.get(view, PARTS)


def decode(parts: Sequence[bytes | memoryview]) -> Message:
    """Decode a message of any kind. Unknown keys are ignored; a mask of an unknown encoding becomes None.

    Raises:
        MessageError: The message breaks the format or its limits, or is of another version.
    """
    source, view = check_parts(parts)
    _check_size(parts[1], EVENT_BYTES if view == STATE else HEADER_BYTES)
    header = from_json(parts[1])
    if header.source != source:
        raise MessageError(f"the header is of source {header.source[:80]!r}, its topic of {source!r}")
    if isinstance(header, ResultHeader) == (view == STATE):
        raise MessageError(f"a {header.__struct_config__.tag} does not belong in the view {view}")
    if not isinstance(header, ResultHeader):
        return event_from_header(header)
    if len(parts) < 3:
        raise MessageError("a result has 3 or 4 parts, not 2")
    entries = [mask_entry(item.mask) for item in header.objects]
    masks = unpack_masks(entries, parts[2], header.width, header.height)
    return result_from_header(header, masks, bytes(parts[3]) if len(parts) == used_parts(view) == PARTS else None)


def _by_confidence(result: ResultMessage) -> list[int]:
    return sorted(range(len(result.objects)), key=lambda index: -result.objects[index].detection.confidence)


def _encode_objects(result: ResultMessage, kept_by_confidence: list[int]) -> EncodedResult:
    kept = sorted(kept_by_confidence)
    position = {index: place for place, index in enumerate(kept)}
    masks = [result.objects[index].mask for index in kept]
    entries, blob = pack_masks(masks, [position[index] for index in kept_by_confidence], result.width, result.height)
    header = result_header(result, kept, [NULL if entry is None else msgspec.Raw(to_json(entry)) for entry in entries])
    given = sum(item.mask is not None for item in result.objects)
    return EncodedResult(header, [b"", to_json(header), blob], given - sum(entry is not None for entry in entries))


def _check_size(header: bytes | memoryview, limit: int) -> None:
    if len(header) > limit:
        raise MessageError(f"a header of {len(header)} bytes is larger than the limit of {limit}")
