"""Weights on this machine: found in the cache or downloaded once. Their SHA-256 is checked before each use.

A file that the user names is used as it is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs
from filelock import FileLock, Timeout

from streamseg.errors import CheckpointError, WeightsError, WeightsUnavailableError
from streamseg.locks import remove_and_release
from streamseg.models.catalogue import Weights, find, known_names, look_up
from streamseg.models.missing import MissingFile, MissingWeightsError
from streamseg.paths import is_unicode

CHECKPOINT_ADVICE = "give an official file, such as mobile_sam.pt or sam_vit_b_01ec64.pth"
_CHECKPOINT_STARTS = (b"PK\x03\x04", b"\x80")
"""Of a ZIP archive, which `torch.save` writes; of a pickle, which it wrote before version 1.6."""
_LOCK_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class WeightsProgress:
    """Progress of work on the weights `name`.

    Attributes:
        name: As in the catalogue.
        done: Bytes downloaded, or networks exported.
        total: The same when the work is finished; None if that is unknown.
        activity: A participle phrase that fits before the name.
        host: Where it comes from; empty for work on this machine.
    """

    name: str
    done: int
    total: int | None
    activity: str = "fetching"
    host: str = ""


Report = Callable[[WeightsProgress], None]


def weights_directory() -> Path:
    """The cache: `STREAMSEG_CACHE`, or `streamseg` in the user's cache directory of the platform.

    Raises:
        WeightsError: The folder cannot be accessed, or its path is not UTF-8.
    """
    directory = Path(os.environ.get("STREAMSEG_CACHE") or platformdirs.user_cache_dir("streamseg")).expanduser()
    if not is_unicode(str(directory)):  # ONNX Runtime opens no such path
        raise WeightsError(f"{directory} is not a UTF-8 path; set STREAMSEG_CACHE to another folder")
    try:
        (directory / "anything").exists()
    except OSError as error:
        raise WeightsError(
            f"{directory} cannot be read: {error.strerror or error}; set STREAMSEG_CACHE to another folder"
        ) from error
    return directory


def partial_bytes(weights: Weights) -> int:
    """Size of an unfinished download in the cache; 0 if there is none."""
    part = _part_file(weights_directory() / weights.filename, weights)
    return part.stat().st_size if part.is_file() else 0


def verify(name: str) -> Path:
    """Check the cached file of that name.

    Raises:
        WeightsError: The name is unknown, or the file is missing or damaged.
    """
    weights = find(name)
    path = weights_directory() / weights.filename
    if not path.is_file():
        raise WeightsError(
            f"{weights.name} is not in {path.parent}; fetch it with `streamseg weights fetch {weights.name}`"
        )
    damage = _damage(path, weights)
    if damage is not None:
        raise WeightsError(f"{path} is damaged: {damage}; fetch it again with `streamseg weights fetch {weights.name}`")
    return path


def locate(model: str, *, offline: bool = False, progress: Report | None = None) -> Path:
    """Path of the weights that a user names: an existing file, or anything in the catalogue, downloaded if necessary.

    Args:
        model: Path of a file, or a name, file name or alias in the catalogue, such as `mobilesam` or `sam_b.pt`.
        offline: Whether to leave the network alone.
        progress: Called during a download.

    Raises:
        MissingWeightsError: Known, but neither in the cache nor downloadable.
        WeightsError: Neither a file nor known; or the file is wrong, or the cache cannot be written.
    """
    path = Path(model).expanduser()
    if _is_file(path):
        return path
    if look_up(model) is not None:
        return resolve(model, offline=offline, progress=progress)
    if path.is_dir():
        raise WeightsError(f"{model} is a folder; expected a file of weights, or one of {known_names(model)}")
    if path.name != model or path.suffix:
        raise WeightsError(f"{model} does not exist; expected a file of weights, or one of {known_names(model)}")
    raise WeightsError(
        f"no weights are known as {model!r}; expected the path of a file, or one of {known_names(model)}"
    )


def resolve(
    name: str,
    *,
    path: Path | None = None,
    sha256: str | None = None,
    offline: bool = False,
    progress: Report | None = None,
) -> Path:
    """Path of the weights of that name, downloaded if necessary. Safe in several processes at once.

    Without a network it fails within 10 s. A download that broke off, also in a process that was killed, resumes.

    Args:
        name: A name, file name or alias in the catalogue.
        path: A file of the user's own, used as it is.
        sha256: Expected hash, in place of the catalogue's.
        offline: Whether to leave the network alone.
        progress: Called during the download, in this process or another.

    Raises:
        MissingWeightsError: The file is not in the cache, and the network or the server did not deliver it.
        WeightsError: The name is unknown, the user's file is missing, the hash is wrong, or writing failed.
    """
    if path is not None:
        if not _is_file(path):
            raise WeightsError(f"{path} is not a file; give the path of a file with the weights of {name}")
        return path
    wanted = find(name)
    if sha256 is not None:
        wanted = replace(wanted, sha256=sha256.lower(), size=None)
    target = weights_directory() / wanted.filename
    if _is_right(target, wanted):
        return target
    if offline:
        raise _missing(wanted, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target, wanted, progress):
            # Another process may have downloaded the file in the meantime.
            if not _is_right(target, wanted):
                _fetch(wanted, target, progress)
    except OSError as error:
        raise WeightsError(
            f"{error.filename or target} cannot be written: {error.strerror or error};"
            " make room, or set STREAMSEG_CACHE to another folder"
        ) from error
    return target


def check_is_checkpoint(path: Path) -> None:
    """Check that a file begins as PyTorch's files do, which takes no time; loading PyTorch takes seconds.

    Raises:
        CheckpointError: It begins otherwise, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise unreadable_checkpoint(path, error) from error
    if not start.startswith(_CHECKPOINT_STARTS):
        raise CheckpointError(f"{path} is not a PyTorch checkpoint; {CHECKPOINT_ADVICE}")


def unreadable_checkpoint(path: Path, error: OSError) -> CheckpointError:
    """The error of a file that cannot be read."""
    return CheckpointError(f"the checkpoint {path} cannot be read: {error.strerror or error}; {CHECKPOINT_ADVICE}")


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror or error}; give the path of a file of weights"
        ) from error


def _is_right(path: Path, wanted: Weights) -> bool:
    return path.is_file() and _damage(path, wanted) is None


def _damage(path: Path, wanted: Weights) -> str | None:
    """How a file differs from the expected one; None if it does not."""
    size = path.stat().st_size
    if wanted.size is not None and size != wanted.size:
        return f"it has {size} bytes instead of {wanted.size}"
    try:
        found = file_hash(path)
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return None if found == wanted.sha256 else f"its SHA-256 is {found} instead of {wanted.sha256}"


def _missing(wanted: Weights, target: Path, reason: str | None = None) -> MissingWeightsError:
    other = _damage(target, wanted) if target.is_file() else None
    return MissingWeightsError.of([MissingFile(wanted.name, wanted.url, target, other, reason)])


def _part_file(target: Path, wanted: Weights) -> Path:
    """Where an unfinished download lies; the hash in its name keeps parts of different files apart."""
    return target.with_name(f"{target.name}.{wanted.sha256[:8]}.part")


@contextmanager
def _lock(target: Path, wanted: Weights, progress: Report | None) -> Iterator[None]:
    """Let one process at a time download a file; the lock of a killed process is free."""
    lock = FileLock(target.with_name(f"{target.name}.lock"))
    while True:
        try:
            lock.acquire(timeout=_LOCK_POLL_S)
            break
        except Timeout:
            if progress is not None:
                activity = "waiting for another process to fetch"
                progress(WeightsProgress(wanted.name, partial_bytes(wanted), wanted.size, activity))
    try:
        yield
    finally:
        remove_and_release(lock)


def _fetch(wanted: Weights, target: Path, progress: Report | None) -> None:
    """Download to a file beside the target, check it, then rename it."""
    # requests takes a tenth of a second to import, and most runs download nothing.
    from streamseg.models.download import download

    def report(done: int, total: int | None) -> None:
        if progress is not None:
            progress(WeightsProgress(wanted.name, done, total, host=urlsplit(wanted.url).netloc))

    part = _part_file(target, wanted)
    report(partial_bytes(wanted), wanted.size)  # a server that does not answer takes seconds
    try:
        download(wanted.url, part, wanted.size, report)
    except WeightsUnavailableError as error:
        raise _missing(wanted, target, str(error)) from error
    damage = _damage(part, wanted)
    if damage is not None:
        part.unlink()
        raise WeightsError(
            f"{wanted.url} is not the expected file: {damage}; run again, or give the path of a file of your own"
        )
    part.replace(target)
