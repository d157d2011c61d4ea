"""Fragmented MP4 (ISO/IEC 14496-12), one frame a fragment: a pair of boxes `moof` and `mdat` that is complete by itself.

FFmpeg's own muxer holds each frame back until the next one arrives, so that a killed process would lose one.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from io import FileIO

TIMESCALE = 90_000
"""Ticks a second."""

_START_CODE = re.compile(rb"\x00\x00+\x01")
_DEPENDS_ON_NOTHING = 0x0200_0000
_DEPENDS_ON_OTHERS = 0x0101_0000
_DEFAULT_BASE_IS_MOOF = 0x02_0000
_DURATION_SIZE_FLAGS_AND_OFFSET = 0x0701
_WIDTH_IN_AVC1 = 28  # bytes from the box's type to its width and height (ISO/IEC 14496-12, VisualSampleEntry)
_TRUN_LENGTH = 8 + 6 * 4


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a file holds up to its last complete fragment.

    Attributes:
        header: The boxes `ftyp` and `moov`; empty where the file has no complete fragment.
        length: Bytes up to the end of the last complete fragment.
        count: Number of complete fragments.
        last_time: Time of the last one in ticks; None where there is none.
    """

    header: bytes
    length: int
    count: int
    last_time: int | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture in pixels, as the header's sample description says.

        Raises:
            ValueError: The header describes no H.264 track.
        """
        width, height = struct.unpack_from(">HH", self.header, self.header.index(b"avc1") + _WIDTH_IN_AVC1)
        return int(width), int(height)


def fragment(sequence: int, time: int, duration: int, packet: bytes, keyframe: bool) -> bytes:
    """The two boxes of one frame.

    Args:
        sequence: Number of the fragment, from 1.
        time: Presentation time in ticks; frames are in presentation order.
        duration: In ticks.
        packet: One H.264 access unit with start codes (Annex B).
        keyframe: Whether decoding may begin here.
    """
    sample = b"".join(struct.pack(">I", len(unit)) + unit for unit in _START_CODE.split(packet) if unit)
    flags = _DEPENDS_ON_NOTHING if keyframe else _DEPENDS_ON_OTHERS
    track_header = _box(b"tfhd", struct.pack(">II", _DEFAULT_BASE_IS_MOOF, 1))
    track_time = _box(b"tfdt", struct.pack(">IQ", 1 << 24, time))
    movie_header = _box(b"mfhd", struct.pack(">II", 0, sequence))
    offset = 8 + len(movie_header) + 8 + len(track_header) + len(track_time) + _TRUN_LENGTH + 8
    run = _box(
        b"trun", struct.pack(">IIIIII", _DURATION_SIZE_FLAGS_AND_OFFSET, 1, offset, duration, len(sample), flags)
    )
    return _box(b"moof", movie_header + _box(b"traf", track_header + track_time + run)) + _box(b"mdat", sample)


def scan(file: FileIO) -> Recorded:
    """Find the complete fragments of a file that was written here and may end anywhere.

    Raises:
        ValueError: The file is something else.
    """
    length = file.seek(0, 2)
    boxes: list[bytes] = []
    position = header_length = count = 0
    complete = 0
    last_time = time = None
    while (box := _box_at(file, position, length)) is not None:
        kind, position = box
        boxes.append(kind)
        if kind == b"moov":
            header_length = position
        elif kind == b"moof":
            time = _time_before(file, position)
        elif kind == b"mdat":
            complete, count, last_time = position, count + 1, time
    expected = [b"ftyp", b"moov", *[b"moof", b"mdat"] * (count + 1)]
    if boxes != expected[: len(boxes)] or (length >= 8 and not boxes and _kind(file) != b"ftyp"):
        raise ValueError("not a fragmented recording of one frame a fragment")
    if not complete:
        return Recorded(b"", 0, 0, None)
    file.seek(0)
    return Recorded(file.read(header_length), complete, count, last_time)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def _box_at(file: FileIO, position: int, length: int) -> tuple[bytes, int] | None:
    """Kind and end of the box at `position`, or None where no complete box is left."""
    file.seek(position)
    start = file.read(8)
    if len(start) < 8:
        return None
    (size,) = struct.unpack(">I", start[:4])
    end = position + size
    return (start[4:], end) if size >= 8 and end <= length else None


def _kind(file: FileIO) -> bytes:
    file.seek(4)
    return file.read(4)


def _time_before(file: FileIO, end: int) -> int:
    """The time in the `tfdt` of the `moof` that ends at `end`; the boxes behind the time have a fixed length."""
    file.seek(end - _TRUN_LENGTH - 8)
    return int.from_bytes(file.read(8))
