"""What an HTTP server has at an address: a file, a live stream, or an HLS list. Needs no library that reads video."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import string
import time
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from streamseg.errors import SourceError
from streamseg.sources.address import DEFAULT_PORTS, NetworkAddress
from streamseg.sources.playlist import (
    LIST_BYTES,
    LISTS,
    START,
    Playlist,
    best_variant,
    list_text,
    nested_too_deep,
    read_playlist,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

ANSWER_S: Final = 10.0
"""Within which a server answers all requests of a look; its first picture may take longer."""
_FIRST_BYTES: Final = 512
_ELSEWHERE: Final = "to no http:// or https:// address; give the address of the video itself"


class _Response(Protocol):
    """The part of a response that is used."""

    headers: http.client.HTTPMessage

    def read(self, amount: int) -> bytes: ...

    def geturl(self) -> str: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What is at an address.

    Attributes:
        live: Whether it has no end.
        url: The address for FFmpeg, after redirects: of an HLS list, that of the segments with the best picture. It may
            hold a password.
        playlist: The list; None if it is none.
    """

    live: bool
    url: str = field(repr=False)
    playlist: Playlist | None = None


def look(address: NetworkAddress, timeout_s: float) -> Answer:
    """Request an address, and read no more of it than its kind takes.

    Raises:
        SourceError: The server cannot be reached, has no such file, or answers with a page instead of a video.
        SourceRefusedError: It denies access.
    """
    timeout_s = min(timeout_s, ANSWER_S)
    deadline_s = time.monotonic() + timeout_s
    url = address.url
    for _ in range(LISTS):
        with closing(_request(address, url, timeout_s, deadline_s)) as response:
            url = _with_login(address, response.geturl())
            try:
                kind = response.headers.get_content_type()
                if kind == "multipart/x-mixed-replace":
                    return Answer(True, url)
                first = response.read(_FIRST_BYTES)
                text = first.decode("utf-8-sig", "replace").lstrip()
                if not text.startswith(START):
                    _refuse_page(address, kind, text, empty=not first)
                    # A server that does not say how much follows does not know it either.
                    return Answer("Content-Length" not in response.headers, url)
                text = list_text(first + response.read(LIST_BYTES + 1 - len(first)), address.shown)
            except TimeoutError as error:
                raise _failure(address, error, timeout_s) from error
            except (OSError, http.client.HTTPException) as error:
                raise SourceError(f"{address.shown} broke off its answer ({_reason(error)}); try again") from error
        variant = best_variant(text)
        if variant is None:
            playlist = read_playlist(text)
            return Answer(not playlist.finished, url, playlist)
        try:
            url = urljoin(url, variant)
            _server(url)
        except ValueError:
            raise SourceError(f"{address.shown} leads {_ELSEWHERE}") from None
    raise nested_too_deep(address.shown)


def tls_options() -> dict[str, str]:
    """FFmpeg's options to check certificates as Python does: by the authorities of the system or of SSL_CERT_FILE."""
    authorities = ssl.get_default_verify_paths().cafile
    return {"tls_verify": "1"} if authorities is None else {"tls_verify": "1", "ca_file": authorities}


def _request(address: NetworkAddress, url: str, timeout_s: float, deadline_s: float) -> _Response:
    try:
        plain, passwords = _plain(url), _Passwords(address)
    except ValueError:  # a host with characters that no host has
        raise address.unknown_host() from None
    opener = urllib.request.OpenerDirector()
    # Without the handlers of `build_opener` that open files of this machine and FTP servers.
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(deadline_s),
        _Https(deadline_s),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        _CloseRefusal(),
        urllib.request.HTTPBasicAuthHandler(passwords),
        urllib.request.HTTPDigestAuthHandler(passwords),
    ):
        opener.add_handler(handler)
    try:
        response: _Response = opener.open(plain, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refusal(address, error.code, error.reason) from None  # the cause quotes the address
    except urllib.error.URLError as error:
        raise _failure(address, error.reason, timeout_s) from None
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise _failure(address, error, timeout_s) from None
    except ValueError:  # a way to log in that urllib does not have
        raise _refusal(address, 401, "") from None
    return response


class _Until(io.RawIOBase):
    """Reads a connection until a moment: its own time-out holds for each of any number of reads."""

    def __init__(self, deadline_s: float, connection: socket.socket, raw: io.RawIOBase) -> None:
        self._deadline_s = deadline_s
        self._connection = connection
        self._raw = raw

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Buffer) -> int | None:
        """Read what arrives next."""
        self._connection.settimeout(_left_s(self._deadline_s))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Close the connection too."""
        self._raw.close()
        super().close()


class _Reply(http.client.HTTPResponse):
    """A response that ends at a moment."""

    def __init__(self, deadline_s: float, connection: socket.socket, method: str | None = None) -> None:
        super().__init__(connection, method=method)
        self.fp = io.BufferedReader(_Until(deadline_s, connection, self.fp.detach()))


class _Dated(urllib.request.AbstractHTTPHandler):
    """Ends connecting and reading at a moment."""

    def __init__(self, deadline_s: float) -> None:
        super().__init__()
        self._deadline_s = deadline_s

    def do_open(self, http_class: Any, req: urllib.request.Request, **options: Any) -> http.client.HTTPResponse:
        """Send a request."""

        def connection(host: str, **more: Any) -> http.client.HTTPConnection:
            made: http.client.HTTPConnection = http_class(host, **more)
            made.response_class = partial(_Reply, self._deadline_s)  # type: ignore[assignment]
            return made

        req.timeout = _left_s(self._deadline_s)
        return super().do_open(connection, req, **options)


class _Http(_Dated, urllib.request.HTTPHandler):
    pass


class _Https(_Dated, urllib.request.HTTPSHandler):
    pass


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the web alone, and leaves their body unread, which may have no end."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The next request."""
        try:
            _server(newurl)
        except ValueError:
            raise urllib.error.HTTPError(req.full_url, code, msg, headers, fp) from None
        fp.close()
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Passwords(urllib.request.HTTPPasswordMgr):
    """Gives the login to the server of an address alone, also after redirects."""

    def __init__(self, address: NetworkAddress) -> None:
        super().__init__()
        self._login = address.login or (None, None)
        self._server = _server(address.url)

    def find_user_password(self, realm: str, authuri: str) -> tuple[str | None, str | None]:
        """The login for a request."""
        return self._login if _server(authuri) == self._server else (None, None)


class _CloseRefusal(urllib.request.BaseHandler):
    """Closes the answer that requests a password, which the handlers after it leave open."""

    handler_order = 10

    def http_error_401(self, request: object, response: _Response, *rest: object) -> None:
        """Leave the new request to the other handlers."""
        response.close()


def _refusal(address: NetworkAddress, status: int, reason: str) -> SourceError:
    shown = address.shown
    if status in (401, 403):
        return address.denied(f" ({status})")
    if status in (404, 410):
        return SourceError(f"{shown}: the server has nothing there ({status}); check the path")
    if status in (301, 302, 303, 307, 308):
        return SourceError(f"{shown} redirects ({status}) too often, or {_ELSEWHERE}")
    return SourceError(f"{shown} answered {status} {reason}; expected a video, try again or ask whose server it is")


def _failure(address: NetworkAddress, cause: object, timeout_s: float) -> SourceError:
    if isinstance(cause, ConnectionRefusedError):
        return address.refused()
    if isinstance(cause, socket.gaierror | UnicodeError):
        return address.unknown_host()
    if isinstance(cause, TimeoutError):
        return SourceError(f"{address.shown} did not answer within {timeout_s:g} s; check the address and the network")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return SourceError(
            f"{address.shown} has a certificate that this machine does not trust ({cause.verify_message}); "
            "if it is yours, name its file in SSL_CERT_FILE"
        )
    return SourceError(f"{address.shown} cannot be reached ({_reason(cause)}); check the address and the port")


def _refuse_page(address: NetworkAddress, kind: str, text: str, *, empty: bool) -> None:
    if empty:
        raise SourceError(f"{address.shown} is empty; expected a video, an MJPEG stream or an HLS list")
    if kind == "text/html" or text[:9].lower() == "<!doctype" or text[:5].lower() == "<html":
        raise SourceError(
            f"{address.shown} is a web page, not a video; give the address of the video itself, of an MJPEG stream or "
            "of an HLS list (.m3u8)"
        )


def _reason(cause: object) -> str:
    return (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _server(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a web address.

    Raises:
        ValueError: It is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]


def _plain(url: str) -> str:
    """The address without its login, and with percent-encoding for what HTTP does not send as it is."""
    parts = urlsplit(url)
    path, query = (quote(text, string.punctuation, errors="surrogateescape") for text in (parts.path, parts.query))
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], path=path, query=query))


def _with_login(address: NetworkAddress, url: str) -> str:
    """The address that a server redirected to, with the credentials if it is the same server."""
    same = _server(url) == _server(address.url)
    return urlunsplit(urlsplit(url)._replace(netloc=urlsplit(address.url).netloc)) if same else url
