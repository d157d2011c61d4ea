"""Checks the source that settings name, without opening it and without a library that reads pictures."""

from __future__ import annotations

import stat

from streamseg.errors import SourceError
from streamseg.paths import local_path
from streamseg.sources import SourceSettings
from streamseg.sources.address import NetworkAddress
from streamseg.sources.scene_options import SceneOptions


def check_source(settings: SourceSettings) -> None:
    """Check a source without opening it: its address, its password file, and that a file is there.

    Raises:
        SourceError: The address is invalid, or there is no such file.
        SettingsError: The password file cannot be read.
    """
    settings.read_password()  # of a source of any kind
    match settings.kind:
        case "file":
            path = local_path(settings.address, "the path of a video file")
            try:
                regular = stat.S_ISREG(path.stat().st_mode)
            except FileNotFoundError as error:
                raise SourceError(f"{path}: no such file; give the path of a video file") from error
            except OSError as error:
                raise SourceError(
                    f"{path}: cannot be read ({error.strerror}); give the path of a video file"
                ) from error
            if not regular:
                raise SourceError(f"{path} is not a file; give the path of a video file")
        case "rtsp" | "http":
            NetworkAddress.of(settings)
        case "synthetic":
            SceneOptions.parse(settings.address)
