"""The address of a camera or a server. Needs no library that reads video."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import quote, unquote

from streamseg.errors import SourceError, SourceRefusedError
from streamseg.sources import MAIN, SourceSettings, source_key

DEFAULT_PORTS: Final = {"rtsp": 554, "rtsps": 554, "http": 80, "https": 443}
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(\d{1,9}))?")
_SECRET_IN_PATH = re.compile(r"pass|pwd|token|auth", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NetworkAddress:
    """Address and credentials of a camera or a server.

    Attributes:
        shown: The address for messages: without credentials and without the query, which may hold some.
        host: Name or IP address, without brackets.
        port: TCP port.
        url: The address for FFmpeg, with percent-encoded credentials.
        login: User name and password; None without them.
        key: Key of the source in the settings, for messages.
    """

    shown: str
    host: str
    port: int
    url: str = field(repr=False)
    login: tuple[str, str] | None = field(repr=False)
    key: str

    @classmethod
    def of(cls, settings: SourceSettings) -> Self:
        """The address of a source.

        Raises:
            SourceError: As for `parse`.
            SettingsError: The password file cannot be read.
        """
        return cls.parse(settings.address, settings.username, settings.read_password(), settings.key)

    @classmethod
    def parse(
        cls, url: str, username: str | None = None, password: str | None = None, key: str = source_key(MAIN)
    ) -> Self:
        """Parse a URL; `username` and `password` override those in it, and `key` is that of the source for messages.

        Raises:
            SourceError: It is no URL of a known kind, has a password without a user name, or the end of the
                credentials is ambiguous. The message does not repeat it.
        """
        scheme, _, rest = url.partition("://")
        scheme = scheme.lower()
        kind = "http" if scheme.startswith("http") else "rtsp"
        authority, tail = _split_authority(rest)
        login, _, place = authority.rpartition("@")
        found = _HOST_AND_PORT.fullmatch(place)
        if scheme not in DEFAULT_PORTS or found is None or "@" in tail:
            raise SourceError(
                f"bad {kind.upper()} URL; expected {kind}://HOST[:PORT]/PATH, with percent-encoding for / ? # @ in a "
                "password"
            )
        url_user, _, url_password = login.partition(":")
        user = unquote(url_user) if username is None else username
        secret = unquote(url_password) if password is None else password
        if secret and not user:
            raise SourceError(
                f"the camera has a password without a user name; set {key}.username, or write it before the password"
            )
        port = int(found[2] or DEFAULT_PORTS[scheme])
        if not 1 <= port <= 65_535:
            raise SourceError(f"the camera has the port {port}; expected 1 to 65535")
        credentials = f"{_quote(user)}:{_quote(secret)}@" if user else ""
        path = re.split(r"[?#]", tail)[0]
        return cls(
            shown=f"{scheme}://{place}{'/...' if _SECRET_IN_PATH.search(path) else path}",
            host=found[1].strip("[]"),
            port=port,
            url=f"{scheme}://{credentials}{place}{tail}",
            login=(user, secret) if user else None,
            key=key,
        )

    def resolve(self) -> None:
        """Look the host up; FFmpeg reports an unknown name as an input/output error.

        Raises:
            SourceError: The name is unknown.
        """
        try:
            socket.getaddrinfo(self.host, self.port)
        except (socket.gaierror, UnicodeError) as error:  # a part of a name has at most 63 characters
            raise self.unknown_host() from error

    def unknown_host(self) -> SourceError:
        """The error of a name that does not exist."""
        return SourceError(f"{self.shown}: the host name {self.host!r} is unknown; check it, or give the address")

    def denied(self, status: str = "") -> SourceRefusedError:
        """The error of a host that does not accept the credentials."""
        return SourceRefusedError(
            f"{self.shown} refused the user name or password{status}; check {self.key}.username and "
            f"{self.key}.password_file"
        )

    def refused(self) -> SourceError:
        """The error of a host that refuses the connection."""
        return SourceError(
            f"{self.shown} refused the connection; check the address and the port, and that "
            + ("the server runs" if self.shown.startswith("http") else "RTSP is switched on")
        )


def _quote(text: str) -> str:
    """Percent-encode a text, also one of bytes that are not UTF-8."""
    return quote(text, safe="", errors="surrogateescape")


def _split_authority(rest: str) -> tuple[str, str]:
    end = re.search(r"[/?#]", rest)
    return (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
