"""Looks whether a camera is there, in moments and without a library that reads video."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path
from typing import Final

from streamseg.sources import SourceSettings
from streamseg.sources.devices import absent, list_devices
from streamseg.sources.rtsp_address import RtspAddress

_CONNECT_S: Final = 3.0


def check_present(settings: SourceSettings) -> None:
    """Check a live source before anything slow begins, unless it may be absent; opening it finds the rest.

    Raises:
        SourceError: There is no such webcam, no host of that name, or the host refuses connections.
        SettingsError: The password file cannot be read.
    """
    if settings.wait:
        return
    if settings.kind == "webcam" and sys.platform == "linux":
        _check_camera(re.sub(r"^(webcam|video):", "", settings.address))
    elif settings.kind == "rtsp":
        _check_host(RtspAddress.parse(settings.address, settings.username, settings.read_password()))


def _check_camera(camera: str) -> None:
    device = f"/dev/video{camera}" if camera.isdecimal() else camera
    if device.startswith("/") and not Path(device).exists():
        raise absent(camera, list_devices())


def _check_host(address: RtspAddress) -> None:
    address.resolve()
    try:
        socket.create_connection((address.host, address.port), _CONNECT_S).close()
    except ConnectionRefusedError as error:
        raise address.refused() from error
    except OSError:
        return  # the capture process waits longer, and explains the failure
