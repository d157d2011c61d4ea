"""Downloads one file over HTTP, in as many pieces as the network makes of it.

A download that breaks off goes on where it stopped (RFC 9110, sections 13.1.5 and 14.2): at once where the server had begun
to answer, otherwise with the next call. Proxies are those of HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable
from typing import BinaryIO

import requests
import urllib3

from streamseg.errors import WeightsError, WeightsUnavailableError
from streamseg.models.part_file import Origin, PartFile, without_password

_CONNECT_S, _READ_S = 3.0, 5.0
_ANSWER_S = 8.0
"""Until a server begins to answer: name look-up, every address, every redirection. A name look-up alone has no time-out."""
_LEAST_RATE, _RATE_S = 1000, 30.0
"""Bytes a second, over so many seconds: a connection that brings less has stalled."""
_TRIES = 3
"""Interruptions in a row before which nothing new came: then it is given up."""
_PAUSE_S = 0.5
"""Before going on; doubled with each interruption in a row."""
_STEP = 1 << 16
"""Bytes that count as something new."""
_CHUNK = 1 << 18
_REPORT_S = 0.1

Report = Callable[[int, int | None], None]
"""Is told the bytes that are here, and how many there will be (None where nobody knows)."""


class _InterruptionError(Exception):
    """Not all came; `answered` where at least something did."""

    def __init__(self, why: str, *, answered: bool) -> None:
        super().__init__(why)
        self.answered = answered


def download(url: str, part: PartFile, size: int | None, report: Report) -> bool:
    """Have all of a file in `part`; pieces of the same address that it holds already are kept.

    Args:
        url: The address.
        part: Where to. It keeps what arrived where this fails, for the next call.
        size: Bytes that the file must have, where that is known.
        report: Called as it proceeds, a few times a second.

    Returns:
        Whether the file came in one piece.

    Raises:
        WeightsUnavailableError: Why the network or the server did not deliver it, in a few words.
        WeightsError: The server has another file under that address.
        OSError: The file cannot be written.
    """
    answered, failures, furthest = False, 0, part.length
    while True:
        try:
            return _fetch_rest(url, part, size, report)
        except _InterruptionError as interruption:
            answered = answered or interruption.answered
            failures = 0 if part.length >= furthest + _STEP else failures + 1
            furthest = max(furthest, part.length)
            if not answered:
                raise WeightsUnavailableError(str(interruption)) from interruption
            if failures == _TRIES:
                raise WeightsUnavailableError(
                    f"{interruption} after {part.length / 1e6:.1f} MB, which are kept"
                ) from interruption
        time.sleep(_PAUSE_S * 2**failures)


def _fetch_rest(url: str, part: PartFile, size: int | None, report: Report) -> bool:
    """Ask once for what is missing; say whether the file came in one piece."""
    origin = part.origin()
    if origin is None or origin.url != without_password(url) or (size is not None and part.length > size):
        part.drop()
    offset = part.length
    if offset and offset == size:
        return False
    with _ask(url, offset, origin) as response:
        start, total = _place(response)
        if start in (0, offset):
            if size is not None and total not in (None, size):
                part.drop()
                raise WeightsError(
                    f"{without_password(url)} is not the file that was expected: it has {total} bytes instead of {size};"
                    " try again, or give the path of a file of your own"
                )
            with part.go_on() if start else part.begin(Origin(without_password(url), _validator(response))) as file:
                _save(response, file, start, total or size, report)
            if part.length < (total or size or 0):
                raise _InterruptionError("the connection broke off", answered=True)
            return start == 0
    if not offset:
        raise WeightsUnavailableError("the server sent a piece that was not asked for")
    part.drop()
    return _fetch_rest(url, part, size, report)


def _ask(url: str, offset: int, origin: Origin | None) -> requests.Response:
    """Ask for a file from `offset` on; the answer is all of it (200), a piece (206), or that there is no such piece (416)."""
    # Compressed on the way, bytes could not be counted from the start of the file.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if origin is not None and origin.validator is not None:
            headers["If-Range"] = origin.validator
    try:
        response = _first_answer(url, headers)
    except requests.RequestException as error:
        raise _InterruptionError(_cause(error), answered=False) from error
    status = response.status_code
    if status in (200, 206) or (status == 416 and offset):
        return response
    response.close()
    proxied = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url, no_proxy=None)) is not None
    said = f"the server{', or the proxy before it,' if proxied else ''} said {status} {response.reason or ''}".rstrip()
    if status >= 500:
        raise _InterruptionError(said, answered=False)
    raise WeightsUnavailableError(said)


def _first_answer(url: str, headers: dict[str, str]) -> requests.Response:
    """Wait for the first lines of an answer, but never longer than `_ANSWER_S`."""
    answers: queue.SimpleQueue[requests.Response | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(requests.get(url, headers=headers, stream=True, timeout=(_CONNECT_S, _READ_S)))
        except Exception as error:  # noqa: BLE001 - raised where the answer is awaited
            # Anything else is about an address that cannot be read, and may be quoted, password and all.
            known = isinstance(error, requests.RequestException) and not isinstance(error, ValueError)
            answers.put(error if known else requests.exceptions.InvalidURL())

    threading.Thread(target=ask, name="weights", daemon=True).start()
    try:
        answer = answers.get(timeout=_ANSWER_S)
    except queue.Empty:
        raise requests.Timeout(f"no answer within {_ANSWER_S:.0f} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _place(response: requests.Response) -> tuple[int | None, int | None]:
    """Where in the file an answer begins, and how long the file is; None for what it does not say."""
    length = response.headers.get("Content-Length", "")
    if response.status_code == 200:
        return 0, int(length) if length.isdecimal() else None
    place = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if place is None:
        return None, None
    return int(place[1]), None if place[2] == "*" else int(place[2])


def _validator(response: requests.Response) -> str | None:
    tag: str = response.headers.get("ETag", "")
    # A weak tag may stay the same where bytes change.
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _save(response: requests.Response, file: BinaryIO, done: int, total: int | None, report: Report) -> None:
    """Write what an answer brings, as it comes."""
    since, brought, reported = time.monotonic(), 0, 0.0
    try:
        # Not `iter_content`: it waits until a chunk is full, however long a trickle takes to fill it.
        while chunk := response.raw.read1(_CHUNK):
            file.write(chunk)
            # Others look at its length, and this process may be killed.
            file.flush()
            done += len(chunk)
            brought += len(chunk)
            now = time.monotonic()
            if now - reported >= _REPORT_S:
                report(done, total)
                reported = now
            if total is not None and done > total:
                break
            if now - since >= _RATE_S:
                if brought < _LEAST_RATE * _RATE_S:
                    raise _InterruptionError("the server stalled", answered=True)
                since, brought = now, 0
    except urllib3.exceptions.TimeoutError as error:
        raise _InterruptionError("the server stalled", answered=True) from error
    except urllib3.exceptions.HTTPError as error:
        raise _InterruptionError("the connection broke off", answered=True) from error
    report(done, total)


def _cause(error: requests.RequestException) -> str:
    """In a few words, why there was no answer."""
    match error:
        case requests.exceptions.ProxyError():
            refused = re.search(r"Tunnel connection failed: ([^'\"]+)", str(error))
            return f"the proxy refused: {refused[1]}" if refused else "the proxy could not be reached"
        case requests.exceptions.SSLError():
            return "the server's certificate was not accepted (REQUESTS_CA_BUNDLE names a file of those to trust)"
        case requests.exceptions.InvalidURL():
            return "its address, or that of the proxy (HTTPS_PROXY, HTTP_PROXY; SOCKS needs the package PySocks), cannot be used"
        case requests.Timeout():
            return "the server did not answer in time"
        case _:
            return "the server could not be reached, or broke off"
