"""Records frames as H.264 in a fragmented MP4 that survives `kill -9`."""

from __future__ import annotations

import contextlib
import io
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

from streamseg.errors import StageError, StreamsegError, UsageError
from streamseg.messages import Image
from streamseg.sinks.fragments import TIMESCALE, Recorded, fragment, scan

_NOMINAL_FPS = 30  # part of the stream's description, which must be the same when a recording is continued; timestamps tell the rate
_KEYFRAME_INTERVAL = 60
_ENCODER = {"preset": "superfast", "tune": "zerolatency", "crf": "23", "threads": "2"}


class VideoSink:
    """Writes frames with their own timestamps, each of them complete in the file when `write` returns.

    The first frame sets the size (odd sides are padded to even ones by repeating the last row or column); later frames of
    another size are fitted into it with black bars. Nothing but whole frames is ever added, so the file can be played
    while it grows, and a process that is killed loses no frame for which `write` returned.

    Attributes:
        last_pts_ns: Time of the last frame in the file, to the nearest 1/90000 s; None while there is none.
    """

    last_pts_ns: int | None

    def __init__(self, path: Path, fps_hint: float, *, resume: bool = False) -> None:
        """Open the file at once; an existing one is overwritten, or continued with `resume`.

        Args:
            path: The MP4 file.
            fps_hint: Frames a second as far as known; it only sets how long the last frame is shown.
            resume: Continue behind the last complete frame. Frames up to that one's time are then ignored by `write`,
                so that a caller may simply give them again.

        Raises:
            UsageError: The file cannot be opened, or is not a recording that can be continued.
        """
        self._path = path
        self._duration = max(round(TIMESCALE / fps_hint), 1)
        self._encoder: _Encoder | None = None
        self._count = self._length = 0
        self._last = self._resumed_at = -1
        self.last_pts_ns = None
        try:
            self._file = path.open("r+b" if resume and path.exists() else "w+b", buffering=0)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}; give another file to record to") from error
        if resume:
            try:
                self._continue()
            except (StreamsegError, OSError) as error:
                self._file.close()
                raise UsageError(f"{path} cannot be continued: {error}; record to another file") from error

    def write(self, image: Image, pts_ns: int) -> None:
        """Append one frame.

        Args:
            image: Shape (height, width, 3), uint8, BGR.
            pts_ns: Presentation time in nanoseconds. One that is not after the frame before is set one tick after it.

        Raises:
            StageError: The frame could not be encoded or written; the frames before it stay in the file.
        """
        time = (pts_ns * 9 + 50_000) // 100_000
        if time <= self._resumed_at:
            return
        time = max(time, self._last + 1)
        if self._encoder is None:
            self._encoder = _Encoder(image.shape[1] + image.shape[1] % 2, image.shape[0] + image.shape[0] % 2)
        packet, keyframe = self._encoder.encode(image, time)
        data = fragment(self._count + 1, time, self._duration, packet, keyframe)
        self._append(data if self._count else self._encoder.header + data)
        self._count += 1
        self._set_last(time)

    def close(self) -> None:
        """Close the file; a recording without any frame is removed."""
        if self._file.closed:
            return
        self._file.close()
        if not self._count and self._path.is_file():
            self._path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _continue(self) -> None:
        try:
            recorded = scan(self._file)
        except ValueError as error:
            raise UsageError(f"it is {error}") from error
        if recorded.last_time is not None:
            self._encoder = _encoder_of(recorded)
            self._resumed_at = recorded.last_time
            self._set_last(recorded.last_time)
        self._count, self._length = recorded.count, recorded.length
        self._file.truncate(self._length)
        self._file.seek(self._length)

    def _set_last(self, time: int) -> None:
        self._last = time
        self.last_pts_ns = round(Fraction(time * 100_000, 9))

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with contextlib.suppress(
                OSError
            ):  # the error that matters is the first one; a fragment cut short is also skipped on resume
                self._file.truncate(self._length)
            raise StageError(
                f"recording to {self._path} failed: {error.strerror}; free the disk or record elsewhere"
            ) from error
        self._length += len(data)


def _encoder_of(recorded: Recorded) -> _Encoder:
    try:
        encoder = _Encoder(*recorded.size)
    except ValueError as error:
        raise UsageError("it holds no H.264") from error
    if encoder.header != recorded.header:
        raise UsageError("it was made with another encoder or other settings")
    return encoder


class _Encoder:
    """H.264 without delay: every picture gives one packet at once.

    Attributes:
        header: The boxes `ftyp` and `moov` that describe the stream; the same for the same size and encoder.
    """

    header: bytes

    def __init__(self, width: int, height: int) -> None:
        header = io.BytesIO()
        try:
            # The container is only asked for its header; nothing is muxed into it.
            self._container = av.open(header, "w", format="mp4", options={"movflags": "empty_moov+default_base_moof"})
            self._stream = self._add_stream(width, height)
            self._container.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            raise StageError(
                f"PyAV cannot encode H.264 at {width}x{height}: {error}; install PyAV's wheel, which has libx264"
            ) from error
        self._width, self._height = width, height
        self.header = header.getvalue()

    def encode(self, image: Image, time: int) -> tuple[bytes, bool]:
        """Encode a picture of any size.

        Args:
            image: Shape (height, width, 3), uint8, BGR.
            time: Presentation time in ticks.

        Returns:
            The packet with start codes, and whether decoding may begin with it.
        """
        planes = np.asarray(cv2.cvtColor(_fit(image, self._width, self._height), cv2.COLOR_BGR2YUV_I420), np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = time, Fraction(1, TIMESCALE)
        try:
            (packet,) = self._stream.encode(frame)
        except (av.FFmpegError, ValueError) as error:
            raise StageError(f"a frame could not be encoded as H.264: {error}") from error
        return bytes(packet), packet.is_keyframe

    def _add_stream(self, width: int, height: int) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=_NOMINAL_FPS, options=_ENCODER)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, TIMESCALE)
        context.gop_size = _KEYFRAME_INTERVAL
        context.color_range = av.video.reformatter.ColorRange.MPEG
        context.colorspace = av.video.reformatter.Colorspace.SMPTE170M  # what OpenCV's conversion computes
        return stream


def _fit(image: Image, width: int, height: int) -> Image:
    """The image in exactly that size: padded by at most a row and a column, or else scaled and centred on black."""
    rows, columns = image.shape[:2]
    if (columns, rows) == (width, height):
        return image
    if 0 <= width - columns <= 1 and 0 <= height - rows <= 1:
        return np.pad(image, ((0, height - rows), (0, width - columns), (0, 0)), mode="edge")
    scale = min(width / columns, height / rows)
    inner_width, inner_height = max(round(columns * scale), 1), max(round(rows * scale), 1)
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    fitted = np.zeros((height, width, 3), np.uint8)
    fitted[top : top + inner_height, left : left + inner_width] = cv2.resize(
        image, (inner_width, inner_height), interpolation=cv2.INTER_AREA
    )
    return fitted
