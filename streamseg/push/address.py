"""Where a source takes frames of other programs."""

from __future__ import annotations

from typing import Final

from streamseg.endpoints import check_endpoint
from streamseg.runtime_folder import runtime_directory

SCHEME: Final = "push:"


def push_endpoint(url: str, source: str) -> str:
    """The endpoint of a source's URL: what follows `push:`, else `own_endpoint`.

    Raises:
        SettingsError: It is no endpoint.
        StageError: The user has no folder for sockets.
    """
    endpoint = url[len(SCHEME) :]
    if not endpoint:
        return own_endpoint(source)
    check_endpoint(SCHEME, endpoint)
    return endpoint


def own_endpoint(source: str) -> str:
    """Where programs of the same user on the same machine reach a source: a socket in the user's private folder.

    Raises:
        SettingsError: Its path is too long for a socket.
        StageError: The user has no such folder.
    """
    endpoint = f"ipc://{runtime_directory() / f'push-{source}'}"
    check_endpoint(SCHEME, endpoint)
    return endpoint
