"""The mask codec: each mask is a rectangle of bits; the masks of a result share one blob."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from streamseg.errors import MessageError
from streamseg.masks import Mask
from streamseg.wire.limits import PART_BYTES, RAW_BYTES, SIDE

BITS: Final = "bits"
"""Rows from the top, eight pixels per byte, most significant bit first, each row padded to whole bytes."""
BITS_ZLIB: Final = "bits+zlib"
"""The same as one zlib stream (RFC 1950)."""
ENCODINGS: Final = (BITS, BITS_ZLIB)

_Start = Annotated[int, Meta(ge=0, lt=SIDE)]
_Extent = Annotated[int, Meta(ge=1, le=SIDE)]
_Offset = Annotated[int, Meta(ge=0, le=PART_BYTES)]


class MaskEntry(msgspec.Struct, frozen=True):
    """A mask in a header: its rectangle `x y w h` in pixels of the frame, its range `off len` in bytes of the blob."""

    enc: str
    x: _Start
    y: _Start
    w: _Extent
    h: _Extent
    off: _Offset
    len: _Offset

    @property
    def raw_bytes(self) -> int:
        """Size before compression."""
        return (self.w + 7) // 8 * self.h


def pack_masks(
    masks: Sequence[Mask | None], order: Sequence[int], width: int, height: int
) -> tuple[list[MaskEntry | None], bytes]:
    """Pack the masks of a frame into one blob. The first mask that exceeds a limit is left out, and all after it.

    Args:
        masks: One per object, None for an object without a mask.
        order: Indices into `masks`, the most important first.
        width: Of the frame.
        height: Of the frame.

    Returns:
        One entry or None per object, and the blob.

    Raises:
        MessageError: A mask leaves the frame.
    """
    entries: list[MaskEntry | None] = [None] * len(masks)
    pieces: list[bytes] = []
    offset = raw = 0
    full = False
    for index in order:
        mask = masks[index]
        if mask is None:
            continue
        if not mask.inside(height, width):
            raise MessageError(_outside(mask.width, mask.height, mask.x, mask.y, width, height))
        raw += (mask.width + 7) // 8 * mask.height
        full = full or raw > RAW_BYTES
        if full:
            continue
        enc, piece = _compress(mask.pack())
        full = offset + len(piece) > PART_BYTES
        if not full:
            entries[index] = MaskEntry(enc, mask.x, mask.y, mask.width, mask.height, offset, len(piece))
            pieces.append(piece)
            offset += len(piece)
    return entries, b"".join(pieces)


def unpack_masks(
    entries: Sequence[MaskEntry | None], blob: bytes | memoryview, width: int, height: int
) -> list[Mask | None]:
    """The inverse of `pack_masks`: one mask or None per entry. Checks every entry before it makes the first mask.

    Raises:
        MessageError: An entry leaves the frame or the blob, exceeds a limit, or has a different number of bits.
    """
    _check([entry for entry in entries if entry is not None], len(blob), width, height)
    view = memoryview(blob)
    return [None if entry is None else _unpack(entry, view) for entry in entries]


def _compress(packed: bytes) -> tuple[str, bytes]:
    compressed = zlib.compress(packed, 1)
    return (BITS_ZLIB, compressed) if len(compressed) < len(packed) else (BITS, packed)


def _check(entries: Sequence[MaskEntry], blob_bytes: int, width: int, height: int) -> None:
    for entry in entries:
        if entry.x + entry.w > width or entry.y + entry.h > height:
            raise MessageError(_outside(entry.w, entry.h, entry.x, entry.y, width, height))
        if entry.off + entry.len > blob_bytes:
            raise MessageError(
                f"a mask lies in bytes {entry.off} to {entry.off + entry.len} of a blob of {blob_bytes} bytes"
            )
    raw = sum(entry.raw_bytes for entry in entries)
    if raw > RAW_BYTES:
        raise MessageError(f"the masks take {raw} bytes unpacked, more than the limit of {RAW_BYTES}")
    # Masks that share bytes would make a short message expensive to unpack.
    claimed = sum(entry.len for entry in entries)
    if claimed > blob_bytes:
        raise MessageError(f"the masks claim {claimed} bytes of a blob of {blob_bytes} bytes")


def _outside(mask_width: int, mask_height: int, x: int, y: int, width: int, height: int) -> str:
    return f"a mask of {mask_width}x{mask_height} at ({x}, {y}) leaves its frame of {width}x{height}"


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
        raise MessageError(f"a mask's zlib stream does not end after its {expected} bytes")
    return packed
