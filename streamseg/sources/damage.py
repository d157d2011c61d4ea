"""Measures how much of a video file cannot be read."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from streamseg.sources import SourceDamage

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

DECLARING_FORMATS: Final = frozenset({"mov", "matroska", "flv", "avi", "asf"})
"""FFmpeg's formats whose header gives the duration; for others FFmpeg estimates it from what is there."""
_UNIT_NS: Final = 10_000
"""Steps between frames are counted in this unit."""
_SLACK_S: Final = 0.5
_SLACK_STEPS: Final = 5
"""A file whose packets end earlier than declared by more than this is cut; where it counts its frames, by `_GAP`."""
_GAP: Final = 1.5
"""Steps; a longer one in a damaged file of constant rate lacks frames."""
_REGULAR: Final = 0.8
"""Share of equal steps from which on a rate counts as constant."""


class DamageMeter:
    """Follows the reading of a file from its beginning to its end.

    Attributes:
        others: Streams whose packets tell, beside those of the video, where the file ends.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._declared_s = _declared_s(container, stream)
        self.others = container.streams.audio if self._declared_s is not None and stream.duration is None else ()
        self._count = stream.frames
        self._failed = self._damaged = 0
        self._suspicious = False
        self._end_s = 0.0
        self._pictures = 0
        self._last_ns = 0
        self._steps: Counter[int] = Counter()

    def add_packet(self, packet: av.Packet[Stream]) -> None:
        """Note a packet that was read."""
        self._suspicious |= packet.is_corrupt
        if packet.pts is not None and packet.time_base is not None:
            self._end_s = max(self._end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def add_failure(self) -> None:
        """Note a packet that could not be read or decoded."""
        self._failed += 1

    def add_picture(self, picture: av.VideoFrame, pts_ns: int) -> None:
        """Note a decoded picture and its time."""
        self._damaged += picture.is_corrupt
        if self._pictures:
            self._steps[(pts_ns - self._last_ns) // _UNIT_NS] += 1
        self._pictures += 1
        self._last_ns = pts_ns

    def damage(self) -> SourceDamage | None:
        """What is missing or damaged of the file, which is read to its end; None if all is well."""
        missing = self._failed
        if self._failed or self._damaged or self._suspicious:
            missing = max(missing, _frames_in_gaps(self._steps))
        missing = max(missing, self._failed + self._frames_after_end())
        if missing:
            missing = max(missing, self._count - self._pictures)
        return SourceDamage(missing, self._damaged, self._pictures + missing) if missing or self._damaged else None

    def _frames_after_end(self) -> int:
        """How many frames are missing at the end, by the declared duration."""
        if self._declared_s is None or not self._steps:
            return 0
        step_s = _median(self._steps) * _UNIT_NS / 1e9
        short_s = self._declared_s - self._end_s
        slack_s = _GAP * step_s if self._count else max(_SLACK_S, _SLACK_STEPS * step_s)
        return round(short_s / step_s) if short_s > slack_s else 0


def _declared_s(container: InputContainer, stream: VideoStream) -> float | None:
    """When the video should end, in seconds; None if the file does not say."""
    if container.format.name.split(",")[0] not in DECLARING_FORMATS:
        return None
    if container.format.name == "avi" and stream.frames and stream.average_rate:  # FFmpeg shortens an AVI's duration
        return float(stream.frames / stream.average_rate)
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / 1_000_000


def _frames_in_gaps(steps: Counter[int]) -> int:
    """How many frames of a constant rate are missing between others; 0 if the rate varies."""
    if not steps:
        return 0
    step = _median(steps)
    regular = sum(count for one, count in steps.items() if abs(one - step) < 0.1 * step)
    if regular < _REGULAR * steps.total():
        return 0
    return sum(count * (round(one / step) - 1) for one, count in steps.items() if one > _GAP * step)


def _median(steps: Counter[int]) -> int:
    ordered = sorted(steps.items())
    ranks = accumulate(count for _, count in ordered)
    middle = next(step for (step, _), rank in zip(ordered, ranks, strict=True) if 2 * rank >= steps.total())
    return max(middle, 1)
