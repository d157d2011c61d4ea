"""Opens the source that settings name. Only its own kind is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamseg.sources import Source, SourceSettings

if TYPE_CHECKING:
    from streamseg.sources.animation import AnimatedWebpSource
    from streamseg.sources.file import FileSource


def open_source(settings: SourceSettings, threads: int) -> Source:
    """Open a source; `threads` decode a file, everything else has one thread.

    Raises:
        SourceError: It could not be opened.
        SettingsError: The password file cannot be read.
    """
    match settings.kind:
        case "file":
            return open_file(settings, threads)
        case "rtsp":
            from streamseg.sources.rtsp import RtspSource

            return RtspSource(settings)
        case "webcam":
            from streamseg.sources.webcam import WebcamSource

            return WebcamSource(settings)
        case "synthetic":
            from streamseg.sources.synthetic import SyntheticSource

            return SyntheticSource(settings)


def open_file(settings: SourceSettings, threads: int | None = None) -> FileSource | AnimatedWebpSource:
    """Open a video or an animated picture; `threads` decode it, None leaves the number to FFmpeg.

    Raises:
        SourceError: It could not be opened.
    """
    from streamseg.sources.animation import AnimatedWebpSource, is_animated_webp

    if is_animated_webp(Path(settings.address)):
        return AnimatedWebpSource(settings)
    from streamseg.sources.file import FileSource

    return FileSource(settings, threads)
