"""Opens the source that settings name. Only its own kind is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamseg.errors import SourceError
from streamseg.sources import Source, SourceSettings

if TYPE_CHECKING:
    from streamseg.sources.animation import AnimatedWebpSource
    from streamseg.sources.file import FileSource
    from streamseg.sources.picture import PictureSource


def open_source(settings: SourceSettings, threads: int) -> Source:
    """Open a source; `threads` decode a file, everything else has one thread.

    Raises:
        SourceError: It could not be opened.
        SettingsError: The password file cannot be read.
    """
    match settings.kind:
        case "file" | "http" if settings.is_live:
            from streamseg.sources.http import StreamSource

            return StreamSource(settings)
        case "file":
            return open_file(settings, threads)
        case "http":
            from streamseg.sources.file import FileSource
            from streamseg.sources.http import WebFile

            return FileSource(settings, threads, WebFile(settings))
        case "push":
            raise SourceError("push: takes frames in a run alone; start one with `streamseg run --source push:`")
        case "rtsp":
            from streamseg.sources.rtsp import RtspSource

            return RtspSource(settings)
        case "webcam":
            from streamseg.sources.webcam import WebcamSource

            return WebcamSource(settings)
        case "synthetic":
            from streamseg.sources.synthetic import SyntheticSource

            return SyntheticSource(settings)


def open_file(settings: SourceSettings, threads: int | None = None) -> FileSource | AnimatedWebpSource | PictureSource:
    """Open a video, an animated picture or a picture; `threads` decode it, None leaves the number to FFmpeg.

    Raises:
        SourceError: It could not be opened.
    """
    from streamseg.images import is_still
    from streamseg.sources.animation import AnimatedWebpSource, is_animated_webp

    path = Path(settings.address)
    if is_animated_webp(path):
        return AnimatedWebpSource(settings)
    if is_still(path) and path.is_file():
        from streamseg.sources.picture import PictureSource

        return PictureSource(settings)
    from streamseg.sources.file import FileSource

    return FileSource(settings, threads)
