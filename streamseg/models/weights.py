"""Weights on this machine: found in the cache, verified, or downloaded once.

Nothing is used before its SHA-256 was checked, except a file that the user names.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from streamseg.errors import WeightsError, WeightsUnavailableError
from streamseg.models.catalogue import CATALOGUE, Weights
from streamseg.models.part_file import PartFile, without_password

_LOCK_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    """How far work on the weights `name` is: a download in bytes, or an export in networks.

    Attributes:
        name: As in the catalogue.
        done: What is here.
        total: What there will be; None where nobody knows.
        elsewhere: Whether another process downloads it, and this one waits for that.
        work: What is done to them.
    """

    name: str
    done: int
    total: int | None
    elsewhere: bool = False
    work: str = "fetching"


def catalogue() -> tuple[Weights, ...]:
    """The weights that are known by name."""
    return CATALOGUE


def weights_directory() -> Path:
    """Where downloads are kept: `STREAMSEG_CACHE`, or `streamseg` in the user's cache directory of the platform.

    Raises:
        WeightsError: Nobody may look into it.
    """
    import pooch

    chosen = os.environ.get("STREAMSEG_CACHE")
    directory = Path(chosen).expanduser() if chosen else Path(pooch.os_cache("streamseg"))
    try:
        (directory / "anything").exists()
    except OSError as error:
        raise WeightsError(
            f"{directory} cannot be read: {error.strerror or error}; set STREAMSEG_CACHE to another folder"
        ) from error
    return directory


def find(name: str) -> Weights:
    """The entry of the catalogue with that name, file name or alias.

    Raises:
        WeightsError: There is none.
    """
    entry = _entry(name)
    if entry is None:
        raise WeightsError(f"no weights are known as {name!r}; expected one of {_names()}")
    return entry


def fetched_bytes(weights: Weights) -> int:
    """How much of a file is in the cache, where its download broke off or still goes on."""
    return PartFile(weights_directory() / weights.filename).length


def verify(name: str) -> Path:
    """Check the cached file of that name.

    Raises:
        WeightsError: The name is unknown, there is no such file, or it is not what it claims to be.
    """
    weights = find(name)
    path = weights_directory() / weights.filename
    if not path.is_file():
        raise WeightsError(
            f"{weights.name} is not in {path.parent}; fetch it with `streamseg weights fetch {weights.name}`"
        )
    found = _mismatch(path, weights)
    if found is not None:
        raise WeightsError(f"{path} is damaged: {found}; fetch it again with `streamseg weights fetch {weights.name}`")
    return path


def locate(model: str, *, progress: Callable[[Progress], None] | None = None) -> Path:
    """Have the weights that a user names, in whatever way: a file that exists is taken as it is, anything known is fetched.

    Args:
        model: The path of a file, or a name, a file name or an alias of the catalogue, such as `mobilesam` or `sam_b.pt`.
        progress: Called as a download proceeds.

    Raises:
        WeightsUnavailableError: Known, but neither in the cache nor to be had by the network.
        WeightsError: Neither a file nor known; or known, but the file is wrong or the cache cannot be written.
    """
    path = Path(model).expanduser()
    if _is_file(path):
        return path
    if _entry(model) is not None:
        return resolve(model, progress=progress)
    if path.is_dir():
        raise WeightsError(f"{model} is a folder; expected a file of weights, or one of {_names()}")
    if path.name != model or path.suffix:
        raise WeightsError(f"{model} is not here; expected a file of weights that exists, or one of {_names()}")
    raise WeightsError(f"no weights are known as {model!r}; expected the path of a file, or one of {_names()}")


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

    A download that broke off, here or in a process that was killed, goes on where it stopped.

    Args:
        name: As in the catalogue: a name, a file name or an alias.
        path: A file of the user's own, taken as it is.
        sha256: The hash that the file must have, in place of the catalogue's.
        offline: Whether to do without the network.
        progress: Called as the download proceeds, here or in another process.
        base_url: A mirror: where the files lie under their names of the catalogue.

    Raises:
        WeightsUnavailableError: The file is not in the cache, and the network or the server did not deliver it.
        WeightsError: The name is unknown, the user's file is missing, the hash is wrong, or the cache cannot be written.
    """
    if path is not None:
        if not _is_file(path):
            raise WeightsError(f"{path} is not a file; expected the weights of {name}, give the path of the file")
        return path
    known = find(name)
    wanted = Weights(
        name=known.name,
        filename=known.filename,
        url=known.url if base_url is None else f"{base_url.rstrip('/')}/{known.filename}",
        sha256=(sha256 or known.sha256).lower(),
        size=known.size if sha256 is None else None,
    )
    target = weights_directory() / wanted.filename
    why = _wrong(target, wanted)
    if why is None:
        return target
    if offline:
        raise _unavailable(wanted, target, why)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _sole_writer(target, wanted, progress):
            # Another process may have fetched it meanwhile.
            if _wrong(target, wanted) is not None:
                _fetch(wanted, target, progress)
    except OSError as error:
        reason = error.strerror or error
        raise WeightsError(
            f"{error.filename or target} cannot be written: {reason}; make room, or set STREAMSEG_CACHE"
        ) from error
    return target


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry(name: str) -> Weights | None:
    return next((weights for weights in CATALOGUE if name in (weights.name, weights.filename, weights.alias)), None)


def _names() -> str:
    return ", ".join(f"{weights.name} ({weights.filename})" for weights in CATALOGUE)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror or error}; give the path of a file of weights"
        ) from error


def _wrong(path: Path, wanted: Weights) -> str | None:
    """Why the file in the cache cannot be used; None where it can."""
    if not path.is_file():
        return "it is not in the cache"
    found = _mismatch(path, wanted)
    return None if found is None else f"what is in the cache is damaged ({found})"


def _mismatch(path: Path, wanted: Weights) -> str | None:
    """What is wrong with a file; None where it is as expected."""
    size = path.stat().st_size
    if wanted.size is not None and size != wanted.size:
        return f"it has {size} bytes instead of {wanted.size}"
    try:
        found = file_hash(path)
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return None if found == wanted.sha256 else f"its SHA-256 is {found} instead of {wanted.sha256}"


def _unavailable(wanted: Weights, target: Path, why: str) -> WeightsUnavailableError:
    return WeightsUnavailableError(
        f"the weights of {wanted.name} are not here: {why}; download {without_password(wanted.url)} and put it at {target}"
    )


@contextmanager
def _sole_writer(target: Path, wanted: Weights, progress: Callable[[Progress], None] | None) -> Iterator[None]:
    """Wait until no other process fetches the same file; one that was killed is not waited for."""
    lock = FileLock(target.with_name(f"{target.name}.lock"))
    while True:
        try:
            lock.acquire(timeout=_LOCK_POLL_S)
            break
        except Timeout:
            if progress is not None:
                progress(Progress(wanted.name, PartFile(target).length, wanted.size, elsewhere=True))
    try:
        yield
    finally:
        lock.release()


def _fetch(wanted: Weights, target: Path, progress: Callable[[Progress], None] | None) -> None:
    """Download into a file beside the target, check it, and give it its name only then."""
    from streamseg.models.download import download

    if target.is_dir():
        raise WeightsError(
            f"{target} is a folder where the weights of {wanted.name} belong; remove it, or set STREAMSEG_CACHE"
        )

    def report(done: int, total: int | None) -> None:
        if progress is not None:
            progress(Progress(wanted.name, done, total))

    part = PartFile(target)
    try:
        in_one_piece = download(wanted.url, part, wanted.size, report)
        found = _mismatch(part.path, wanted)
        if found is not None and not in_one_piece:
            # The server may have changed the file between two pieces without a word.
            part.drop()
            download(wanted.url, part, wanted.size, report)
            found = _mismatch(part.path, wanted)
    except WeightsUnavailableError as error:
        raise _unavailable(wanted, target, str(error)) from error
    if found is not None:
        part.drop()
        address = without_password(wanted.url)
        raise WeightsError(
            f"{address} is not the file that was expected: {found}; try again, or give the path of a file of your own"
        )
    part.finish()
