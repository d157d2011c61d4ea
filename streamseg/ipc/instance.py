"""What a run occupies on the machine: a private folder, blocks of shared memory and its endpoint; and their removal."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import socket
import stat
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq
from filelock import FileLock, Timeout

from streamseg.errors import EndpointInUseError, SettingsError, StageError
from streamseg.ipc.ring import remove_blocks

_PREFIX = "streamseg-"
_LONGEST_SOCKET_PATH = 107
_LONGEST_FOLDER = 60  # leaves room for the names of the run and of its sockets


def runtime_directory() -> Path:
    """The user's private folder for sockets and locks, made if it is missing.

    Raises:
        StageError: Another user made a folder of that name.
    """
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    parent = Path(tempfile.gettempdir())
    if len(str(parent)) > _LONGEST_FOLDER and Path("/tmp").is_dir():
        parent = Path("/tmp")
    folder = parent / f"{_PREFIX}{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid"):
        found = folder.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise StageError(f"{folder} belongs to another user; remove it, or set TMPDIR")
        folder.chmod(0o700)
    return folder


class Instance:
    """One run's folder; a lock marks it as alive. Entering removes what dead runs left; leaving removes its own."""

    def __init__(self) -> None:
        self.name = f"{_PREFIX}{secrets.token_hex(6)}"
        self.directory = runtime_directory() / self.name
        self._lock = FileLock(self.directory / "lock")

    def __enter__(self) -> Self:
        with _sweeping():
            _sweep(self.directory.parent)
            self.directory.mkdir(mode=0o700)
            self._lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        remove_blocks(self.name)
        with _sweeping():
            self._lock.release()
            shutil.rmtree(self.directory)


class Endpoint:
    """A publishing address, reserved for this run."""

    def __init__(self, bind: str) -> None:
        """Reserve an address and resolve its `*`.

        Raises:
            EndpointInUseError: Another run or program uses it.
            SettingsError: This machine has no such address.
        """
        self.address = _try_to_bind(bind)
        digest = hashlib.sha256(self.address.encode()).hexdigest()[:16]
        self._lock = FileLock(runtime_directory() / f"endpoint-{digest}.lock")
        with _sweeping():
            if not _acquire(self._lock):
                raise _in_use(self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with _sweeping():
            _remove(self._lock)


def _sweeping() -> FileLock:
    """The lock to hold while making or removing locks and folders: none is removed before its maker locks it."""
    return FileLock(runtime_directory() / "sweep.lock")


def _acquire(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _remove(lock: FileLock) -> None:
    lock.release()
    Path(lock.lock_file).unlink(missing_ok=True)


def _in_use(address: str) -> EndpointInUseError:
    return EndpointInUseError(
        f"{address} is in use; end the program that publishes there, or choose another with --set publish.bind=…"
    )


def _try_to_bind(bind: str) -> str:
    if bind.startswith("ipc://"):
        _check_socket_path(bind)
    with zmq.Context() as context, context.socket(zmq.XPUB) as probe:
        probe.linger = 0
        try:
            probe.bind(bind)
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE:
                raise _in_use(bind) from error
            raise SettingsError(
                f"publish.bind: cannot bind {bind} ({error.strerror}); expected an address of this machine"
            ) from error
        return probe.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")


def _check_socket_path(bind: str) -> None:
    """Refuse what binding would silently destroy: a file, or a socket in use."""
    path = Path(bind.removeprefix("ipc://"))
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise SettingsError(f"publish.bind: {path} is longer than {_LONGEST_SOCKET_PATH} bytes; name a shorter path")
    if path.exists() and not path.is_socket():
        raise SettingsError(f"publish.bind: {path} exists and is not a socket; name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise _in_use(bind)


def _sweep(folder: Path) -> None:
    for directory in folder.glob(f"{_PREFIX}*"):
        lock = FileLock(directory / "lock")
        if _acquire(lock):
            remove_blocks(directory.name)
            lock.release()
            shutil.rmtree(directory)
    for path in folder.glob("endpoint-*.lock"):
        lock = FileLock(path)
        if _acquire(lock):
            _remove(lock)
