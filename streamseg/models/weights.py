"""Weights on this machine: found in the cache, verified, or downloaded once.

Nothing is used before its SHA-256 was checked, except a file that the user names.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from streamseg.errors import WeightsError, WeightsUnavailableError
from streamseg.models.catalogue import CATALOGUE, Weights

if TYPE_CHECKING:
    import requests

_CONNECT_S, _READ_S = 3.0, 5.0
_ANSWER_S = 8.0
"""Until a server begins to answer: name look-up, every address, every redirection. A name look-up alone has no time-out."""
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the download of `name` is, in bytes; `total` is None where the server does not say."""

    name: str
    done: int
    total: int | None


def catalogue() -> tuple[Weights, ...]:
    """The weights that are known by name."""
    return CATALOGUE


def weights_directory() -> Path:
    """Where downloads are kept: `STREAMSEG_CACHE`, or `streamseg` in the user's cache directory of the platform."""
    import pooch

    chosen = os.environ.get("STREAMSEG_CACHE")
    return Path(chosen).expanduser() if chosen else Path(pooch.os_cache("streamseg"))


def cached(weights: Weights) -> Path | None:
    """The file in the cache, not verified; None where there is none."""
    path = weights_directory() / weights.filename
    return path if path.is_file() else None


def verify(name: str, *, sha256: str | None = None) -> Path:
    """Check the cached file of that name.

    Args:
        name: As in the catalogue.
        sha256: The hash that it must have, in place of the catalogue's.

    Raises:
        WeightsError: There is no such file, or it is not what it claims to be; or no hash is known to check it by.
    """
    weights = _known(name)
    expected = _expected_hash(weights, sha256)
    path = cached(weights)
    if path is None:
        raise WeightsError(f"{name} is not in {weights_directory()}; fetch it with `streamseg weights fetch {name}`")
    found = _mismatch(path, weights.size if sha256 is None else None, expected)
    if found is not None:
        raise WeightsError(f"{path} is damaged: {found}; fetch it again with `streamseg weights fetch {name}`")
    return path


def resolve(
    name: str,
    *,
    path: Path | None = None,
    sha256: str | None = None,
    offline: bool = False,
    progress: Callable[[Progress], None] | None = None,
    base_url: str | None = None,
) -> Path:
    """Have the weights of that name on this machine. Safe in several processes at once; without a network it fails within 10 s.

    Args:
        name: As in the catalogue.
        path: A file of the user's own, taken as it is.
        sha256: The hash that the file must have, in place of the catalogue's.
        offline: Whether to do without the network.
        progress: Called as the download proceeds.
        base_url: A mirror: where the files lie under their names of the catalogue.

    Raises:
        WeightsUnavailableError: The file is not in the cache, and the network or the server did not deliver it.
        WeightsError: The name is unknown, the user's file is missing, the hash is unknown or wrong, or the cache cannot be written.
    """
    if path is not None:
        if not path.is_file():
            raise WeightsError(f"{path} is not a file; expected the weights of {name}, give the path of the file")
        return path
    weights = _known(name)
    expected = _expected_hash(weights, sha256)
    size = weights.size if sha256 is None else None
    target = weights_directory() / weights.filename
    if target.is_file() and _mismatch(target, size, expected) is None:
        return target
    url = weights.url if base_url is None else f"{base_url.rstrip('/')}/{weights.filename}"
    if offline:
        raise _unavailable(name, url, target, "it is not in the cache")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f"{target.name}.lock")):
            if not (target.is_file() and _mismatch(target, size, expected) is None):
                _fetch(name, url, target, size, expected, progress)
    except OSError as error:
        raise WeightsError(f"{target} cannot be written: {error.strerror or error}; set STREAMSEG_CACHE to a folder that can") from error
    return target


def _known(name: str) -> Weights:
    for weights in CATALOGUE:
        if weights.name == name:
            return weights
    raise WeightsError(f"no weights are known as {name!r}; expected one of {', '.join(weights.name for weights in CATALOGUE)}")


def _expected_hash(weights: Weights, sha256: str | None) -> str:
    expected = sha256 or weights.sha256
    if expected is None:
        advice = f"give the SHA-256 of {weights.url}, or the path of a file of your own"
        raise WeightsError(f"the SHA-256 of {weights.name} was never established, so it is not downloaded; {advice}")
    return expected.lower()


def _mismatch(path: Path, size: int | None, expected: str) -> str | None:
    """What is wrong with a file; None where it is as expected."""
    import pooch

    if size is not None and path.stat().st_size != size:
        return f"it has {path.stat().st_size} bytes instead of {size}"
    found = pooch.file_hash(str(path), alg="sha256")
    return None if found == expected else f"its SHA-256 is {found} instead of {expected}"


def _unavailable(name: str, url: str, target: Path, why: str) -> WeightsUnavailableError:
    return WeightsUnavailableError(f"the weights of {name} are not here: {why}; download {url} and put it at {target}")


def _fetch(name: str, url: str, target: Path, size: int | None, expected: str, progress: Callable[[Progress], None] | None) -> None:
    """Download into a file beside the target, check it, and give it its name only then."""
    import requests

    part = target.with_name(f"{target.name}.part")
    try:
        with _answer(url) as response:
            response.raise_for_status()
            _save(response, part, name, size, progress)
        found = _mismatch(part, size, expected)
        if found is not None:
            raise WeightsError(f"{url} is not the file that was expected: {found}; try again, or give the path of a file of your own")
        part.replace(target)
    except (requests.RequestException, TimeoutError) as error:
        raise _unavailable(name, url, target, _cause(error)) from error
    finally:
        part.unlink(missing_ok=True)


def _answer(url: str) -> requests.Response:
    """Ask for a file and wait for the answer's first line, but never longer than `_ANSWER_S`."""
    import requests

    answers: queue.SimpleQueue[requests.Response | requests.RequestException] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(requests.get(url, stream=True, timeout=(_CONNECT_S, _READ_S)))
        except requests.RequestException as error:
            answers.put(error)

    threading.Thread(target=ask, name="weights", daemon=True).start()
    try:
        answer = answers.get(timeout=_ANSWER_S)
    except queue.Empty:
        raise TimeoutError(f"no answer within {_ANSWER_S:.0f} s") from None
    if isinstance(answer, requests.RequestException):
        raise answer
    return answer


def _save(response: requests.Response, part: Path, name: str, size: int | None, progress: Callable[[Progress], None] | None) -> None:
    length = response.headers.get("Content-Length", "")
    total = size or (int(length) if length.isdigit() else None)
    done = 0
    with part.open("wb") as file:
        for chunk in response.iter_content(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(Progress(name, done, total))
            if size is not None and done > size:
                break


def _cause(error: Exception) -> str:
    """In a few words, why a download failed."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server said {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout | TimeoutError):
        return "the server did not answer in time"
    return "the server could not be reached, or broke off"
