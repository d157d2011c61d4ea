"""An HLS list: whether it is finished, its last segment, and the list of the best picture behind a list of lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamseg.errors import SourceError
from streamseg.paths import irregularity, refuse_url

START: Final = "#EXTM3U"
"""First line of every list."""
LIST_BYTES: Final = 16 << 20
"""Most bytes of a list."""
LISTS: Final = 3
"""A list of lists may name one that is a list of lists again, but not for ever."""
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


def read_list_file(path: Path) -> tuple[Path, Playlist]:
    """Read a list of segments in a file, or the best one of a list of lists; returns its path too.

    Raises:
        SourceError: It cannot be read, or is no list of this machine.
    """
    place = path
    for _ in range(LISTS):
        text = list_text(_read(place), str(place))
        variant = best_variant(text)
        if variant is None:
            return place, read_playlist(text)
        refuse_url(variant, "a list of lists that are files too")
        place = place.parent / variant
    raise nested_too_deep(str(path))


def list_text(content: bytes, shown: str) -> str:
    """The text of a list of which up to a byte more than `LIST_BYTES` was read.

    Raises:
        SourceError: It is longer: without its end it would count as live.
    """
    if len(content) > LIST_BYTES:
        raise SourceError(f"{shown} has more than {LIST_BYTES >> 20} MiB; expected a shorter HLS list")
    return content.decode("utf-8-sig", "replace")


def nested_too_deep(shown: str) -> SourceError:
    """The error of a list of lists without a list of segments."""
    return SourceError(f"{shown} is a list of lists of lists; give the address of one of them")


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


def _read(path: Path) -> bytes:
    try:
        if other := irregularity(path):
            raise SourceError(f"{path} is {other}; expected an HLS list in a regular file")
        with path.open("rb") as file:
            return file.read(LIST_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}); give the path of an HLS list") from error
