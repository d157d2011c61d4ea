"""The mask codec: each mask is its own rectangle of bits, somewhere in one blob that all masks of a result share."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from streamseg.errors import MessageError
from streamseg.masks import Mask
from streamseg.wire.limits import PART_BYTES, RAW_BYTES, SIDE

BITS: Final = "bits"
"""Rows from the top, eight pixels to the byte, most significant bit first, each row padded to whole bytes."""
BITS_ZLIB: Final = "bits+zlib"
"""The same, as one zlib stream (RFC 1950)."""
ENCODINGS: Final = (BITS, BITS_ZLIB)

_Start = Annotated[int, Meta(ge=0, lt=SIDE)]
_Extent = Annotated[int, Meta(ge=1, le=SIDE)]
_Offset = Annotated[int, Meta(ge=0, le=PART_BYTES)]


class MaskEntry(msgspec.Struct, frozen=True):
    """Where a mask lies in the frame (`x y w h`, pixels) and in the blob (`off len`, bytes)."""

    enc: str
    x: _Start
    y: _Start
    w: _Extent
    h: _Extent
    off: _Offset
    len: _Offset

    @property
    def raw_bytes(self) -> int:
        """Size of the bits before compression."""
        return (self.w + 7) // 8 * self.h


@dataclass(frozen=True, slots=True)
class PackedMasks:
    """Masks ready to be sent: one entry or None for each mask given, the blob, and how many masks the limits cost."""

    entries: list[MaskEntry | None]
    blob: bytes
    limited: int


def pack_masks(masks: Sequence[Mask | None], order: Sequence[int], width: int, height: int) -> PackedMasks:
    """Pack masks of a frame into one blob; from the first one that would break a limit on, all are left out.

    Args:
        masks: One for each object, None where it has none.
        order: Indices into `masks`, the one to keep longest first.
        width: Of the frame.
        height: Of the frame.

    Raises:
        MessageError: A mask leaves the frame.
    """
    entries: list[MaskEntry | None] = [None] * len(masks)
    pieces: list[bytes] = []
    offset = raw = limited = 0
    for index in order:
        mask = masks[index]
        if mask is None:
            continue
        if not mask.inside(height, width):
            raise MessageError(
                f"a mask of {mask.width}x{mask.height} at ({mask.x}, {mask.y}) leaves its frame of {width}x{height}"
            )
        raw += (mask.width + 7) // 8 * mask.height
        if limited or raw > RAW_BYTES:
            limited += 1
            continue
        enc, piece = _compress(mask.pack())
        if offset + len(piece) > PART_BYTES:
            limited += 1
            continue
        entries[index] = MaskEntry(enc, mask.x, mask.y, mask.width, mask.height, offset, len(piece))
        pieces.append(piece)
        offset += len(piece)
    return PackedMasks(entries, b"".join(pieces), limited)


def unpack_masks(
    entries: Sequence[MaskEntry | None], blob: bytes | memoryview, width: int, height: int
) -> list[Mask | None]:
    """The inverse of `pack_masks`: one mask or None for each entry.

    Every entry is checked before the first mask is made.

    Raises:
        MessageError: An entry leaves the frame or the blob, the limits are broken, or the bits are not as many as announced.
    """
    _check(entries, len(blob), width, height)
    view = memoryview(blob)
    return [None if entry is None else _unpack(entry, view) for entry in entries]


def _compress(packed: bytes) -> tuple[str, bytes]:
    compressed = zlib.compress(packed, 1)
    return (BITS_ZLIB, compressed) if len(compressed) < len(packed) else (BITS, packed)


def _check(entries: Sequence[MaskEntry | None], blob_bytes: int, width: int, height: int) -> None:
    raw = taken = 0
    for entry in entries:
        if entry is None:
            continue
        if entry.x + entry.w > width or entry.y + entry.h > height:
            raise MessageError(
                f"a mask of {entry.w}x{entry.h} at ({entry.x}, {entry.y}) leaves its frame of {width}x{height}"
            )
        if entry.off + entry.len > blob_bytes:
            raise MessageError(
                f"a mask lies in bytes {entry.off} to {entry.off + entry.len} of a blob of {blob_bytes} bytes"
            )
        raw += entry.raw_bytes
        taken += entry.len
    if raw > RAW_BYTES:
        raise MessageError(f"the masks take {raw} bytes unpacked, more than the limit of {RAW_BYTES}")
    # Masks that shared bytes would let a short message cause long work.
    if taken > blob_bytes:
        raise MessageError(f"the masks claim {taken} bytes of a blob of {blob_bytes} bytes")


def _unpack(entry: MaskEntry, blob: memoryview) -> Mask:
    piece = blob[entry.off : entry.off + entry.len]
    packed = _decompress(piece, entry.raw_bytes) if entry.enc == BITS_ZLIB else piece
    if len(packed) != entry.raw_bytes:
        raise MessageError(f"a mask of {entry.w}x{entry.h} needs {entry.raw_bytes} bytes, not {len(packed)}")
    return Mask.unpack(entry.x, entry.y, entry.w, entry.h, packed)


def _decompress(piece: memoryview, expected: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        packed = stream.decompress(piece, expected + 1)
    except zlib.error as error:
        raise MessageError(f"a mask is not a zlib stream: {error}") from error
    if not stream.eof or stream.unused_data:
        raise MessageError(f"a mask's zlib stream does not end where its {expected} bytes do")
    return packed
