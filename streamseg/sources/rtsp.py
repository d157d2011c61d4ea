"""An RTSP camera as a source."""

from __future__ import annotations

import time

import av
from av.container import InputContainer

from streamseg.errors import SourceError
from streamseg.sources import SourceInfo, SourceSettings
from streamseg.sources.address import NetworkAddress
from streamseg.sources.connection import Opened, no_picture
from streamseg.sources.conversion import pixel_aspect
from streamseg.sources.live import LiveSource

ANSWER_S = 10.0
"""Within which a camera answers a request; its first picture may take longer."""


class RtspSource(LiveSource):
    """The pictures of an RTSP camera; `LiveSource` describes opening, waiting and reconnecting."""

    def __init__(self, settings: SourceSettings) -> None:
        self._address = NetworkAddress.of(settings)
        self._answer_s = min(ANSWER_S, settings.start_timeout)
        super().__init__(settings, self._address.shown)

    def connect(self) -> Opened:
        """Open the camera's stream."""
        self._address.resolve()
        container = self._open()
        if isinstance(container, SourceError):
            raise container
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self._address.shown} sends no video; check the path")
        stream = container.streams.video[0]
        context = stream.codec_context
        rate = stream.average_rate or stream.guessed_rate
        description = (
            f"{self._address.shown} ({context.name} {context.width}x{context.height} over {self._settings.transport})"
        )
        info = SourceInfo(
            description=description,
            fps=float(rate) if rate else None,
            codec=context.name,
            pixel_aspect=pixel_aspect(stream),
        )
        return Opened(container, info)

    def _open(self) -> InputContainer | SourceError:
        """Returns the error: one raised here would chain FFmpeg's, which quotes the password."""
        microseconds = str(round(self._answer_s * 1e6))
        start = time.monotonic()
        try:
            return av.open(
                self._address.url,
                timeout=(self._settings.start_timeout, self._settings.timeout),
                metadata_errors="replace",
                options={
                    "rtsp_transport": self._settings.transport,
                    "timeout": microseconds,
                    "fflags": "discardcorrupt",
                    "flags": "low_delay",
                    "fpsprobesize": "0",
                    "analyzeduration": "500000",
                    "allowed_media_types": "video",
                },
            )
        except av.FFmpegError as error:
            return self._explain(error, time.monotonic() - start)

    def _explain(self, error: av.FFmpegError, after_s: float) -> SourceError:
        shown = self._address.shown
        if isinstance(error, av.error.ExitError):
            return no_picture(shown, self._settings)
        # FFmpeg reports a missing answer as invalid data.
        if after_s >= 0.9 * self._answer_s:
            return SourceError(f"{shown} did not answer within {self._answer_s:g} s; check the address and the network")
        match error:
            case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
                return self._address.denied()
            case av.error.HTTPNotFoundError():
                return SourceError(f"{shown}: the camera has no such stream (404); check the path")
            case av.error.HTTPOtherClientError():
                return SourceError(
                    f"{shown} has no video stream, only sound or nothing ({error.strerror}); check the path"
                )
            case av.error.ConnectionRefusedError():
                return self._address.refused()
        return SourceError(
            f"{shown} could not be opened ({error.strerror});"
            " check the address and the port, or try the other transport"
        )
