"""Looks whether a source is there and whether it is live, in moments and without a library that reads video."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path
from typing import Final, TypeVar

from msgspec.structs import replace

from streamseg.errors import SourceError, SourceRefusedError
from streamseg.paths import local_path
from streamseg.sources import SourceSettings
from streamseg.sources.address import NetworkAddress
from streamseg.sources.devices import absent, list_devices
from streamseg.sources.http_answer import look
from streamseg.sources.playlist import read_list_file

_CONNECT_S: Final = 3.0
_Settings = TypeVar("_Settings", bound=SourceSettings)


def check_present(settings: _Settings) -> _Settings:
    """Check a source before anything slow begins, unless it may be absent; opening it finds the rest.

    Returns:
        The settings, with `live` set where only the content of the source tells.

    Raises:
        SourceError: There is no such webcam, no host of that name, the host refuses connections, or has no video there.
        SettingsError: The password file cannot be read.
    """
    if settings.may_be_live and settings.live is None:
        return _with_live(settings)
    if settings.wait:
        return settings
    if settings.kind == "webcam" and sys.platform == "linux":
        _check_camera(re.sub(r"^(webcam|video):", "", settings.address))
    elif settings.kind in ("rtsp", "http"):
        _check_host(NetworkAddress.of(settings))
    return settings


def _with_live(settings: _Settings) -> _Settings:
    try:
        if settings.kind == "http":
            return replace(settings, live=look(NetworkAddress.of(settings), settings.start_timeout).live)
        _, playlist = read_list_file(local_path(settings.address, "an HLS list"))
        return replace(settings, live=not playlist.finished)
    except SourceRefusedError:
        raise
    except SourceError:
        if settings.wait:
            return replace(settings, live=settings.is_live)
        raise


def _check_camera(camera: str) -> None:
    device = f"/dev/video{camera}" if camera.isdecimal() else camera
    if device.startswith("/") and not Path(device).exists():
        raise absent(camera, list_devices())


def _check_host(address: NetworkAddress) -> None:
    address.resolve()
    try:
        socket.create_connection((address.host, address.port), _CONNECT_S).close()
    except ConnectionRefusedError as error:
        raise address.refused() from error
    except OSError:
        return  # the capture process waits longer, and explains the failure
