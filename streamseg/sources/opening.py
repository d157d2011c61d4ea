"""Opens the source that settings name. Only its own kind is imported."""

from __future__ import annotations

from streamseg.sources import Source, SourceSettings


def open_source(settings: SourceSettings, threads: int) -> Source:
    """Open a source; `threads` decode a file, everything else has one thread.

    Raises:
        SourceError: It could not be opened.
        SettingsError: The password file cannot be read.
    """
    match settings.kind:
        case "file":
            from streamseg.sources.file import FileSource

            return FileSource(settings, threads)
        case "rtsp":
            from streamseg.sources.rtsp import RtspSource

            return RtspSource(settings)
        case "webcam":
            from streamseg.sources.webcam import WebcamSource

            return WebcamSource(settings)
        case "synthetic":
            from streamseg.sources.synthetic import SyntheticSource

            return SyntheticSource(settings)
