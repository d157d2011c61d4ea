"""Downloads one file over HTTP and resumes where a broken download stopped.

pooch would start every attempt at the first byte and leave a temporary file behind when it is killed, but downloads of
up to 2.6 GB are promised to resume. Proxies are those of HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import requests

from streamseg.errors import WeightsUnavailableError

_TIMEOUT_S = (3.0, 5.0)
"""To connect to one address, and between two pieces of data."""
_RESPONSE_S = 8.0
"""Until a response begins, name look-up and redirects included: name look-up alone has no time-out."""
_ATTEMPTS = 3
"""Attempts in a row without new data before the download fails."""
_PAUSE_S = 0.5
"""Before the next attempt; doubled with each attempt in a row without new data."""
_CHUNK = 1 << 16

Report = Callable[[int, int | None], None]
"""Receives the bytes in the file and the bytes expected, None if the server does not give a length."""


def download(url: str, part: Path, size: int | None, report: Report) -> None:
    """Append to `part` what it lacks of the file at `url`. On failure, `part` keeps what arrived.

    A server that delivers nothing at all fails at once; one that stops half-way is tried again.

    Raises:
        WeightsUnavailableError: The network or the server failed; the message is the reason in a few words.
        OSError: The file cannot be written.
    """
    start = _length(part)
    failures = 0
    while True:
        before = _length(part)
        try:
            _append_rest(url, part, size, report)
            if size is None or _length(part) >= size:
                return
            reason = "the connection broke"
        except requests.RequestException as error:
            reason = _reason(error)
        failures = 0 if _length(part) > before else failures + 1
        if failures == _ATTEMPTS or _length(part) <= start:
            kept = f"; {_length(part) / 1e6:.1f} MB are kept, run again to resume" if _length(part) else ""
            # Outside the except block, because the text of a chained error may hold the proxy's password.
            raise WeightsUnavailableError(f"{reason}{kept}")
        time.sleep(_PAUSE_S * 2**failures)


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _append_rest(url: str, part: Path, size: int | None, report: Report) -> None:
    offset = _length(part)
    if offset == size:
        return
    with _get(url, offset) as response:
        if response.status_code == 416 and offset:
            # The part is longer than the file.
            part.unlink()
            _append_rest(url, part, size, report)
            return
        if not response.ok:
            answer = f"{response.status_code} {response.reason}".rstrip()
            raise requests.HTTPError(f"the server or a proxy answered {answer}")
        resumes = response.status_code == 206
        length = response.headers.get("Content-Length", "")
        total = int(length) + (offset if resumes else 0) if length.isdecimal() else size
        if size is not None and total != size:
            # The page of a captive portal, for example.
            raise WeightsUnavailableError(f"the server has a file of {total} bytes instead of {size}")
        with part.open("ab" if resumes else "wb") as file:
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                # Other processes read the length, and this one may be killed.
                file.flush()
                report(file.tell(), total)


def _get(url: str, offset: int) -> requests.Response:
    """Request a file from byte `offset` on; gives up after `_RESPONSE_S`."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    pending: Future[requests.Response] = Future()

    def get() -> None:
        try:
            pending.set_result(requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S))
        except requests.RequestException as error:
            pending.set_exception(error)
        except Exception:  # noqa: BLE001 - a bad proxy address raises anything, and the text may hold its password
            pending.set_exception(requests.exceptions.InvalidProxyURL())

    threading.Thread(target=get, name="weights-request", daemon=True).start()
    try:
        return pending.result(_RESPONSE_S)
    except TimeoutError:
        raise requests.Timeout from None


def _reason(error: requests.RequestException) -> str:
    match error:
        case requests.HTTPError():
            return str(error)
        case requests.exceptions.ProxyError():
            refused = re.search(r"Tunnel connection failed: ([^'\"]+)", str(error))
            return f"the proxy answered {refused[1]}" if refused else "the proxy could not be reached"
        case requests.exceptions.SSLError():
            return "the server's certificate is not trusted (REQUESTS_CA_BUNDLE names a file of trusted ones)"
        case ValueError():
            return "the address of the proxy (HTTPS_PROXY, HTTP_PROXY) is not valid, or SOCKS needs the package PySocks"
        case requests.Timeout():
            return "the server did not answer in time"
        case _:
            return "the connection failed or broke"
