"""An RTSP camera as a source."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, unquote

import av
from av.container import InputContainer

from streamseg.errors import SourceError, SourceRefusedError
from streamseg.sources import SourceInfo, SourceSettings
from streamseg.sources.connection import Opened, no_picture
from streamseg.sources.conversion import pixel_aspect
from streamseg.sources.live import LiveSource

DEFAULT_PORT = 554
ANSWER_S = 10.0
"""Within which a camera answers a request; its first picture may take longer."""
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(\d+))?")
_SECRET_IN_PATH = re.compile(r"pass|pwd|token|auth", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RtspAddress:
    """Address and credentials of a camera.

    Attributes:
        shown: The address for messages: without credentials and without the query, which may hold some.
        host: Name or IP address, without brackets.
        port: TCP port.
        url: The address for FFmpeg, with percent-encoded credentials.
    """

    shown: str
    host: str
    port: int
    url: str = field(repr=False)

    @classmethod
    def parse(cls, url: str, username: str | None = None, password: str | None = None) -> Self:
        """Parse a URL; `username` and `password` override those in it.

        Raises:
            SourceError: It is no RTSP URL, has a password without a user name, or the end of the credentials is
                ambiguous. The message does not repeat it.
        """
        scheme, _, rest = url.partition("://")
        scheme = scheme.lower()
        authority, tail = _split_authority(rest)
        login, _, place = authority.rpartition("@")
        found = _HOST_AND_PORT.fullmatch(place)
        if scheme not in ("rtsp", "rtsps") or found is None or "@" in tail:
            raise SourceError(
                "bad RTSP URL; expected rtsp://HOST[:PORT]/PATH, with percent-encoding for / ? # @ in a password"
            )
        url_user, _, url_password = login.partition(":")
        user = unquote(url_user) if username is None else username
        secret = unquote(url_password) if password is None else password
        if secret and not user:
            raise SourceError(
                "the camera has a password without a user name; set sources.0.username, or write it before the password"
            )
        credentials = f"{_quote(user)}:{_quote(secret)}@" if user else ""
        path = re.split(r"[?#]", tail)[0]
        return cls(
            shown=f"{scheme}://{place}{'/...' if _SECRET_IN_PATH.search(path) else path}",
            host=found[1].strip("[]"),
            port=int(found[2] or DEFAULT_PORT),
            url=f"{scheme}://{credentials}{place}{tail}",
        )


def _quote(text: str) -> str:
    """Percent-encode a text, also one of bytes that are not UTF-8."""
    return quote(text, safe="", errors="surrogateescape")


def _split_authority(rest: str) -> tuple[str, str]:
    end = re.search(r"[/?#]", rest)
    return (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])


class RtspSource(LiveSource):
    """The pictures of an RTSP camera; `LiveSource` describes opening, waiting and reconnecting."""

    def __init__(self, settings: SourceSettings) -> None:
        self._address = RtspAddress.parse(settings.address, settings.username, settings.read_password())
        self._answer_s = min(ANSWER_S, settings.start_timeout)
        super().__init__(settings, self._address.shown)

    def connect(self) -> Opened:
        """Open the camera's stream."""
        self._resolve()
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
        info = SourceInfo(description=description, fps=float(rate) if rate else None, pixel_aspect=pixel_aspect(stream))
        return Opened(container, info)

    def _resolve(self) -> None:
        # FFmpeg reports an unknown name as an input/output error.
        try:
            socket.getaddrinfo(self._address.host, self._address.port)
        except socket.gaierror as error:
            raise SourceError(
                f"{self._address.shown}: the host name {self._address.host!r} is unknown; check it, or give the address"
            ) from error

    def _open(self) -> InputContainer | SourceError:
        """Returns the error: one raised here would chain FFmpeg's, which quotes the password."""
        microseconds = str(round(self._answer_s * 1e6))
        start = time.monotonic()
        try:
            return av.open(
                self._address.url,
                timeout=(self._settings.start_timeout, self._settings.timeout),
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
            return no_picture(shown, self._settings.start_timeout)
        # FFmpeg reports a missing answer as invalid data.
        if after_s >= 0.9 * self._answer_s:
            return SourceError(f"{shown} did not answer within {self._answer_s:g} s; check the address and the network")
        match error:
            case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
                return SourceRefusedError(
                    f"{shown} refused the user name or password; check username and password_file"
                )
            case av.error.HTTPNotFoundError():
                return SourceError(f"{shown}: the camera has no such stream (404); check the path")
            case av.error.HTTPOtherClientError():
                return SourceError(
                    f"{shown} has no video stream, only sound or nothing ({error.strerror}); check the path"
                )
            case av.error.ConnectionRefusedError():
                return SourceError(
                    f"{shown} refused the connection; check the address and the port, and that RTSP is switched on"
                )
        return SourceError(
            f"{shown} could not be opened ({error.strerror});"
            " check the address and the port, or try the other transport"
        )
