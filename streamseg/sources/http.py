"""A video on a web server as a source: a file, an MJPEG stream, or an HLS list. A live list may also be a file."""

from __future__ import annotations

from typing import Protocol

import av
from av.container import InputContainer

from streamseg.errors import SourceError
from streamseg.paths import local_path
from streamseg.sources import SourceInfo, SourceSettings
from streamseg.sources.address import NetworkAddress
from streamseg.sources.connection import Opened, no_picture
from streamseg.sources.conversion import pixel_aspect
from streamseg.sources.file import refuse_text
from streamseg.sources.http_answer import Answer, look, tls_options
from streamseg.sources.live import LiveSource
from streamseg.sources.playlist import Playlist, read_list_file

_WHITELIST = "http,https,tcp,tls,httpproxy,crypto,data"
"""Keeps lists and redirections of a server off this machine's files."""
_RECONNECT_S = "4"
_REMEDY = "try again, or download it first"
_LAST_SEGMENTS = 3
"""Segments before the end of a live list where reading begins, as RFC 8216 asks: the later ones are there in time."""


class Place(Protocol):
    """Where a live stream is.

    Attributes:
        shown: For messages.
    """

    shown: str

    def look(self) -> Answer:
        """What is there now.

        Raises:
            SourceError: It cannot be reached, or is no video.
        """
        ...

    def options(self) -> dict[str, str]:
        """FFmpeg's options to open it."""
        ...


class WebPlace:
    """An address of a web server."""

    def __init__(self, settings: SourceSettings) -> None:
        self._address = NetworkAddress.of(settings)
        self._settings = settings
        self.shown = self._address.shown

    def look(self) -> Answer:
        """Request it."""
        return look(self._address, self._settings.start_timeout)

    def options(self) -> dict[str, str]:
        """Which protocols may be used, and how long a read may take."""
        return {
            "protocol_whitelist": _WHITELIST,
            "rw_timeout": str(round(self._settings.timeout * 1e6)),
            **tls_options(),
        }


class ListPlace:
    """An HLS list in a file that another program extends."""

    def __init__(self, settings: SourceSettings) -> None:
        self._path = local_path(settings.address, "the path of an HLS list")
        self.shown = str(self._path)

    def look(self) -> Answer:
        """Read it."""
        path, playlist = read_list_file(self._path)
        return Answer(not playlist.finished, str(path.resolve()), playlist)

    def options(self) -> dict[str, str]:
        """Keep it off the network."""
        return {"protocol_whitelist": "file,crypto,data"}


class WebFile:
    """A video file, or a finished HLS list, on a web server: what `FileSource` opens in place of a path."""

    def __init__(self, settings: SourceSettings) -> None:
        self._place = WebPlace(settings)
        self._settings = settings
        self.name = self._place.shown

    def open(self) -> InputContainer:
        """Open it. A connection that is lost is made again, and continues where the file was read to."""
        url = self._place.look().url
        options = {
            **self._place.options(),
            "reconnect": "1",
            "reconnect_on_network_error": "1",
            "reconnect_delay_max": _RECONNECT_S,
        }
        container = _open(url, options, self._settings.start_timeout, self._settings, self.name)
        if isinstance(container, SourceError):
            raise container
        return container

    def explain(self, error: av.FFmpegError) -> SourceError:
        """The error of a read that failed."""
        if isinstance(error, av.error.ExitError | av.error.TimeoutError):
            return SourceError(f"{self.name} sends nothing more, also over new connections; {_REMEDY}")
        return SourceError(f"{self.name} cannot be read further ({error.strerror}); {_REMEDY}")


class StreamSource(LiveSource):
    """The pictures of a live stream; `LiveSource` describes opening, waiting and reconnecting.

    A list continues after a loss with the segments that are new since then, and ends when it is finished.
    """

    def __init__(self, settings: SourceSettings) -> None:
        self._place: Place = WebPlace(settings) if settings.kind == "http" else ListPlace(settings)
        self._played: int | None = None
        """The end of the list when its pictures ended; None while they arrive."""
        self._opened = False
        super().__init__(settings, self._place.shown)

    def connect(self) -> Opened:
        """Open the stream."""
        answer = self._place.look()
        options = {**self._place.options(), "flags": "low_delay"}
        if answer.playlist is None:
            options["fflags"] = "discardcorrupt"
        else:  # in which the start of each segment looks corrupt
            options["live_start_index"] = str(self._first_segment(answer.playlist))
        container = _open(answer.url, options, self._settings.timeout, self._settings, self._place.shown)
        if isinstance(container, SourceError):
            raise container
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self._place.shown} sends no video, only sound or nothing; check the path")
        stream = container.streams.video[0]
        context = stream.codec_context
        kind = "MJPEG" if container.format.name == "mpjpeg" else context.name
        self._played, self._opened = None, True
        # The timestamps of MJPEG count pictures: it has no clock.
        rate = None if container.format.name == "mpjpeg" else stream.average_rate or stream.guessed_rate
        info = SourceInfo(
            description=f"{self._place.shown} ({kind} {context.width}x{context.height})",
            fps=float(rate) if rate else None,
            codec=context.name,
            pixel_aspect=pixel_aspect(stream),
        )
        return Opened(container, info, paced=answer.playlist is not None, stamped=rate is not None)

    def is_finished(self) -> bool:
        """Whether the list says that no more segments follow."""
        try:
            playlist = self._place.look().playlist
        except SourceError:
            return False
        return playlist is not None and playlist.finished

    def _first_segment(self, playlist: Playlist) -> int:
        """The place in a list of the segment to read first; a negative one counts from the end.

        Raises:
            SourceError: There is none that was not there when the pictures ended.
        """
        if not self._opened:
            return -_LAST_SEGMENTS
        if self._played is None or playlist.end < self._played:  # a list that counts from the start again is another
            self._played = playlist.end if self._played is None else 0
        if playlist.end == self._played:
            raise SourceError(f"{self._place.shown} has no new segment; is the program that writes it running?")
        return max(self._played, playlist.end - _LAST_SEGMENTS, playlist.start) - playlist.start


def _open(
    url: str, options: dict[str, str], read_s: float, settings: SourceSettings, shown: str
) -> InputContainer | SourceError:
    """Returns the error: one raised here would chain FFmpeg's, which quotes the password."""
    timeout = (settings.start_timeout, read_s)
    try:
        return refuse_text(av.open(url, timeout=timeout, metadata_errors="replace", options=options), shown)
    except av.error.ExitError:
        return no_picture(shown, settings)
    except av.FFmpegError as error:
        return SourceError(
            f"{shown} cannot be opened as a video ({error.strerror}); expected a video file, an MJPEG stream or an HLS "
            "list"
        )
