"""Makes one file of the parts of a recording, without encoding anything again.

A part written after a crash starts with a keyframe and may repeat the last frames of the part before it. So each part
ends where the next one starts; an incomplete frame at its end is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from io import BytesIO
from math import inf
from pathlib import Path

import av
import msgspec
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streamseg.atomic import replacing
from streamseg.errors import StageError
from streamseg.sinks.rate import pace_of


def join_videos(parts: Sequence[Path], target: Path) -> None:
    """Remux the parts of a video into one ordinary MP4 with its index in front, and remove them.

    Args:
        parts: In their order; `target` may be one of them.
        target: The file to make; it is replaced when everything is in it.

    Raises:
        StageError: The file could not be written, or the parts were encoded differently; all parts are kept.
    """
    try:
        starts = [next((time for time, _ in _packets(part)), None) for part in parts]
        if all(start is None for start in starts):
            target.unlink(missing_ok=True)
        else:
            with replacing(target) as joined:
                _remux(parts, _ends(starts), joined)
    except (OSError, av.FFmpegError) as error:
        raise _failed(target, error) from error
    _remove(parts, target)


def join_lines(parts: Sequence[Path], target: Path) -> None:
    """Write the lines of the parts to one file, and remove the parts. See `join_videos`."""
    try:
        starts = [next((seq for seq, _ in _lines(part)), None) for part in parts]
        with replacing(target) as joined, joined.open("wb") as output:
            for part, end in zip(parts, _ends(starts), strict=True):
                output.writelines(line for seq, line in _lines(part) if seq < end)
    except OSError as error:
        raise _failed(target, error) from error
    _remove(parts, target)


def video_size(part: Path) -> tuple[int, int] | None:
    """Width and height of a video in pixels; None for an empty file. Reads the beginning of the file only.

    Raises:
        StageError: The file holds something else.
    """
    if not part.stat().st_size:
        return None
    with _open(part, only_forward=True) as container:
        return container.streams.video[0].width, container.streams.video[0].height


def _remux(parts: Sequence[Path], ends: Sequence[float], path: Path) -> None:
    pace = pace_of([time for part, end in zip(parts, ends, strict=True) for time, _ in _packets(part, end)])
    timescale = str(pace.timescale)
    options = {"movflags": "faststart", "movie_timescale": timescale, "video_track_timescale": timescale}
    with av.open(str(path), "w", format="mp4", options=options) as output:
        track, header = None, None
        shown = zip(pace.starts, pace.durations, strict=True)
        for part, end in zip(parts, ends, strict=True):
            for index, (_, packet) in enumerate(_packets(part, end)):
                if track is None:
                    track = _Track(output, packet.stream, pace.rate)
                    header = track.header
                elif index == 0 and _header(packet.stream, pace.rate) != header:
                    raise StageError(f"{part} was encoded differently than the parts before it; all parts are kept")
                start, duration = next(shown)
                packet.time_base = Fraction(1, pace.timescale)
                packet.pts = packet.dts = start
                packet.duration = duration
                track.mux(packet)


class _Track:
    """The video of the joined file.

    Attributes:
        header: H.264's description of the stream, with the rate, which was unknown when it was written first.
    """

    def __init__(self, output: OutputContainer, template: VideoStream, rate: Fraction) -> None:
        self._output = output
        self._stream = output.add_stream_from_template(template)
        self._filter = BitStreamFilterContext(f"h264_metadata=tick_rate={2 * rate}", template, self._stream)
        self.header = self._stream.codec_context.extradata

    def mux(self, packet: Packet[VideoStream]) -> None:
        """Append a frame."""
        for described in self._filter.filter(packet):
            described.stream = self._stream
            self._output.mux(described)


def _header(template: VideoStream, rate: Fraction) -> bytes | None:
    """The header that a joined file would have for a stream."""
    with av.open(BytesIO(), "w", format="mp4") as output:
        return _Track(output, template, rate).header


def _packets(part: Path, end: float = inf) -> Iterator[tuple[int, Packet[VideoStream]]]:
    """The complete frames of a part before `end`, with their times in ticks."""
    if not part.stat().st_size:
        return
    try:
        container = _open(part)
    except StageError:  # the last fragment was cut within its description
        container = _open(part, only_forward=True)
    with container, contextlib.suppress(av.InvalidDataError, av.EOFError):
        for packet in container.demux(video=0):
            if packet.pts is not None and not packet.is_corrupt:
                if packet.pts >= end:
                    return
                yield packet.pts, packet


def _open(part: Path, *, only_forward: bool = False) -> InputContainer:
    """Open a part; `only_forward` does not look for all fragments first."""
    try:
        container = av.open(str(part), options={"fflags": "ignidx"} if only_forward else {})
    except (av.InvalidDataError, av.EOFError) as error:
        raise _unreadable(part) from error
    if not container.streams.video:
        container.close()
        raise _unreadable(part)
    return container


class _Numbered(msgspec.Struct):
    seq: int


_decoder = msgspec.json.Decoder(_Numbered, strict=False)  # the number is a decimal string


def _lines(part: Path) -> Iterator[tuple[int, bytes]]:
    """The complete lines of a part, with their sequence numbers."""
    with part.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield _decoder.decode(line).seq, line


def _ends(starts: Sequence[int | None]) -> list[float]:
    """Where each part ends: at the start of the first part behind it, infinite for the last one."""
    ends: list[float] = []
    end = inf
    for start in reversed(starts):
        ends.append(end)
        end = end if start is None else min(end, start)
    return ends[::-1]


def _remove(parts: Sequence[Path], target: Path) -> None:
    for part in parts:
        if part != target:
            part.unlink()


def _failed(target: Path, error: OSError | av.FFmpegError) -> StageError:
    return StageError(f"{target} could not be finished: {error.strerror}; what was recorded stays and can be played")


def _unreadable(part: Path) -> StageError:
    return StageError(f"{part} cannot be read as a video; all parts of the recording are kept")
