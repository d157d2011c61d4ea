"""Records frames as H.264 in a fragmented MP4 that survives `kill -9`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream

from streamseg.errors import StageError
from streamseg.messages import SQUARE, Image, PixelAspect
from streamseg.sinks.bt709 import pixel_format, video_frame
from streamseg.sinks.output_file import OutputFile
from streamseg.sinks.rate import TIMESCALE

_NOMINAL_FPS = 30  # until the rate is known, which the timestamps tell
_KEYFRAME_INTERVAL = 60
_ENCODER = {"preset": "superfast", "tune": "zerolatency", "crf": "26", "threads": "2"}
_BT709 = 1
"""H.264's number of the primaries, the transfer function and the matrix."""
_FRAGMENTED = {
    # frag_discont and avoid_negative_ts keep the time of each fragment; skip_trailer leaves out the index of each one.
    "movflags": "frag_every_frame+empty_moov+default_base_moof+frag_discont+skip_trailer",
    "avoid_negative_ts": "disabled",
}


class VideoWriter:
    """Writes frames with their own timestamps, each of them complete in the file when `write` returns.

    The first frame sets the size unless one is given; frames of another size are fitted into it with black bars. The
    file can be played while it grows. Until it is joined, the duration of each frame is that of the frame before.
    """

    def __init__(self, path: Path, size: tuple[int, int] | None = None, pixel_aspect: PixelAspect = SQUARE) -> None:
        """Open the file at once; an existing one is overwritten.

        Args:
            path: The MP4 file.
            size: Width and height of the video in pixels.
            pixel_aspect: Width and height of a pixel as it is shown.

        Raises:
            UsageError: The file cannot be opened.
        """
        self._path = path
        self._pixel_aspect = pixel_aspect
        self._encoder = None if size is None else _Encoder(*size, pixel_aspect)
        self._count = 0
        self._last = -1
        self.file = OutputFile(path)

    def write(self, image: Image, pts_ns: int) -> None:
        """Append one frame.

        Args:
            image: Shape (height, width, 3), uint8, BGR.
            pts_ns: Presentation time in nanoseconds. One that is not after the frame before is set one tick after it.

        Raises:
            OutputError: The file was deleted.
            StageError: The frame could not be encoded or written; the frames before it stay in the file.
        """
        if self._encoder is None:
            self._encoder = _Encoder(image.shape[1], image.shape[0], self._pixel_aspect)
        time = max((pts_ns * 9 + 50_000) // 100_000, self._last + 1)
        duration = time - self._last if self._count else TIMESCALE // _NOMINAL_FPS
        fragment = self._encoder.fragment(image, time, duration, self._count + 1)
        self.file.append(fragment if self._count else self._encoder.header + fragment)
        self._count += 1
        self._last = time

    def close(self) -> None:
        """Close the file; a video without any frame is removed."""
        if self.file.closed:
            return
        self.file.close()
        if not self._count and self._path.is_file():
            self._path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Encoder:
    """H.264 without delay: every picture becomes one fragment at once.

    Attributes:
        header: The boxes `ftyp` and `moov` that describe the stream; the same for the same size and encoder.
    """

    header: bytes

    def __init__(self, width: int, height: int, pixel_aspect: PixelAspect) -> None:
        output = _Output()
        try:
            # This container only gives the header. See `fragment` for the reason.
            self._container = av.open(output, "w", format="mp4", options=_FRAGMENTED)
            self._stream = self._add_stream(width, height, Fraction(*pixel_aspect))
            self._container.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            raise StageError(
                f"PyAV cannot encode H.264 at {width}x{height}: {error}; install PyAV's wheel, which has libx264"
            ) from error
        self._width, self._height = width, height
        self.header = bytes(output.data)

    def fragment(self, image: Image, time: int, duration: int, number: int) -> bytes:
        """Encode a picture of any size: the boxes `moof` and `mdat`.

        FFmpeg's muxer holds each frame back until it gets the next one or is closed. So each frame has its own muxer
        (0.6 ms); the header that it writes first is cut off.

        Args:
            image: Shape (height, width, 3), uint8, BGR.
            time: Presentation time in ticks.
            duration: How long the frame is probably shown, in ticks.
            number: Number of the fragment in its file, from 1.
        """
        frame = video_frame(_fit(image, self._width, self._height))
        frame.pts, frame.time_base = time, Fraction(1, TIMESCALE)
        try:
            (packet,) = self._stream.encode(frame)
            packet.duration = duration
            return self._mux(packet, number)
        except (av.FFmpegError, ValueError) as error:
            raise StageError(f"a frame could not be encoded as H.264: {error}") from error

    def _mux(self, packet: Packet[VideoStream], number: int) -> bytes:
        output = _Output()
        with av.open(output, "w", format="mp4", options={**_FRAGMENTED, "fragment_index": str(number)}) as container:
            packet.stream = container.add_stream_from_template(self._stream)
            container.mux(packet)
        return bytes(output.data[len(self.header) :])

    def _add_stream(self, width: int, height: int, pixel_aspect: Fraction) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=_NOMINAL_FPS, options=_ENCODER)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format(width, height)
        context = stream.codec_context
        context.time_base = Fraction(1, TIMESCALE)
        context.sample_aspect_ratio = pixel_aspect
        context.gop_size = _KEYFRAME_INTERVAL
        context.color_range = av.video.reformatter.ColorRange.MPEG
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        return stream


class _Output:
    """What a muxer writes to; without a method to seek, it never goes back to change a header."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


def _fit(image: Image, width: int, height: int) -> Image:
    """The image in exactly that size, if need be scaled and centred on black."""
    rows, columns = image.shape[:2]
    if (columns, rows) == (width, height):
        return image
    scale = min(width / columns, height / rows)
    inner_width, inner_height = max(round(columns * scale), 1), max(round(rows * scale), 1)
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    fitted = np.zeros((height, width, 3), np.uint8)
    fitted[top : top + inner_height, left : left + inner_width] = cv2.resize(
        image, (inner_width, inner_height), interpolation=cv2.INTER_AREA
    )
    return fitted
