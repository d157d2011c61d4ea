"""Addresses as users write them. ZeroMQ itself takes port 99999 for 34463."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from streamseg.errors import SettingsError
from streamseg.paths import is_unicode

_FORM: Final = re.compile(r"tcp://[^\s@/?#]+:(?P<port>\d+|\*)|ipc://(?P<path>.+)", re.DOTALL)
_LAST_PORT: Final = 65_535
_LONGEST_PATH: Final = 107
"""Bytes of the path of a socket."""


def check_endpoint(key: str, endpoint: str, *, any_port: bool = False) -> None:
    """Check that a text is `tcp://HOST:PORT` or `ipc://PATH`.

    Args:
        key: What it is for; the message starts with it.
        endpoint: The text.
        any_port: Whether `*` may take the place of the port.

    Raises:
        SettingsError: It is not.
    """
    found = _FORM.fullmatch(endpoint)
    if found is None or not is_unicode(endpoint) or (found["port"] == "*" and not any_port):
        raise SettingsError(f"{key}: {endpoint!r} is not an endpoint; expected tcp://HOST:PORT or ipc://PATH in UTF-8")
    path, port = found["path"], found["port"]
    if path is not None and len(os.fsencode(path)) > _LONGEST_PATH:
        raise SettingsError(f"{key}: {path} is longer than {_LONGEST_PATH} bytes; name a shorter path")
    if port not in (None, "*") and not (len(port) <= len(str(_LAST_PORT)) and 1 <= int(port) <= _LAST_PORT):
        raise SettingsError(f"{key}: {endpoint} has no valid port; expected 1 to {_LAST_PORT}")


def check_remote(key: str, endpoint: str) -> None:
    """Check that a text is an endpoint to connect to: `check_endpoint`, and a host that is not `*`.

    Raises:
        SettingsError: It is not.
    """
    check_endpoint(key, endpoint)
    if endpoint.startswith("tcp://*:"):
        raise SettingsError(
            f"{key}: {endpoint} stands for all addresses of one machine; expected that machine's name or address for *"
        )


def is_loopback(host: str) -> bool:
    """Whether a host, an IPv6 address in brackets or without them, is reachable from this machine only."""
    with suppress(ValueError):
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    return host == "localhost"


def has_listener(key: str, endpoint: str) -> bool:
    """Whether another program listens on a Unix socket. ZeroMQ would take it away; it refuses a TCP port itself.

    Args:
        key: What the endpoint is for; the message starts with it.
        endpoint: Of any kind.

    Raises:
        SettingsError: Its path is a file, which ZeroMQ would delete.
    """
    if not endpoint.startswith("ipc://"):
        return False
    path = Path(endpoint.removeprefix("ipc://"))
    if path.exists() and not path.is_socket():
        raise SettingsError(f"{key}: {path} exists and is not a socket; name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0
