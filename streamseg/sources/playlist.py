"""An HLS list: whether it is finished, its last segment, and the list of the best picture behind a list of lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamseg.errors import SourceError

START: Final = "#EXTM3U"
"""First line of every list."""
LIST_BYTES: Final = 1 << 20
"""What is read of a list."""
_VARIANT: Final = "#EXT-X-STREAM-INF"
_BANDWIDTH: Final = re.compile(r"[:,]BANDWIDTH=(\d{1,12})")
_SEQUENCE: Final = re.compile(r"^#EXT-X-MEDIA-SEQUENCE:(\d{1,18})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Playlist:
    """What a list of segments says.

    Attributes:
        finished: Whether no more segments follow; without that, it is live.
        start: Number of the first segment.
        end: Number of the segment after the last one.
    """

    finished: bool
    start: int
    end: int


def read_playlist(text: str) -> Playlist:
    """Read a list of segments."""
    lines = [line.strip() for line in text.splitlines()]
    sequence = _SEQUENCE.search(text)
    start = int(sequence[1]) if sequence else 0
    segments = sum(bool(line) and not line.startswith("#") for line in lines)
    return Playlist("#EXT-X-ENDLIST" in lines, start, start + segments)


def read_list_file(path: Path) -> Playlist:
    """Read a list of segments in a file.

    Raises:
        SourceError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return read_playlist(file.read(LIST_BYTES).decode("utf-8-sig", "replace"))
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}); give the path of an HLS list") from error


def best_variant(text: str) -> str | None:
    """The address, in a list of lists, of the list with the highest bandwidth; None for a list of segments."""
    found: list[tuple[int, str]] = []
    bandwidth: int | None = None
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith(_VARIANT):
            rate = _BANDWIDTH.search(line)
            bandwidth = int(rate[1]) if rate else 0
        elif line and not line.startswith("#") and bandwidth is not None:
            found.append((bandwidth, line))
            bandwidth = None
    return max(found, key=lambda each: each[0])[1] if found else None
