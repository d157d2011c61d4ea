"""What a run occupies on the machine: a private folder, blocks of shared memory and its endpoint; and their removal."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import zmq
from filelock import FileLock, Timeout

from streamseg.endpoints import check_endpoint
from streamseg.errors import EndpointInUseError, SettingsError, StageError
from streamseg.ipc.listed_runs import sweep_listed
from streamseg.ipc.ring import block_folder, remove_blocks
from streamseg.ipc.run_lock import RunLock

_PREFIX = "streamseg-"
_RUN: Final = re.compile(rf"{_PREFIX}[0-9a-f]{{12}}")
_PROBE_BYTES = 1024
_LONGEST_FOLDER = 60  # leaves room for the names of the run and of its sockets


def runtime_directory() -> Path:
    """The user's private folder for sockets and locks, made if it is missing.

    Raises:
        StageError: It cannot be made, or something else has its name: a file, or a folder of another user.
    """
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    try:
        parent = Path(tempfile.gettempdir())
        if len(str(parent)) > _LONGEST_FOLDER and Path("/tmp").is_dir():
            parent = Path("/tmp")
        folder = parent / f"{_PREFIX}{user}"
        if not os.path.lexists(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StageError(f"no folder for temporary files ({error.strerror}); set TMPDIR to one") from error
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise StageError(f"{folder} is not a folder; remove it, or set TMPDIR")
    if hasattr(os, "getuid"):
        if found.st_uid != os.getuid():
            raise StageError(f"{folder} belongs to another user; remove it, or set TMPDIR")
        folder.chmod(0o700)
    return folder


class Instance:
    """One run's folder and its blocks. Entering removes what dead runs left; leaving removes its own.

    The folder and the blocks have a lock each, beside them: a run that sees only one of the two places, as a service
    with a private `/tmp` does, sweeps that one.
    """

    def __init__(self) -> None:
        self.name = f"{_PREFIX}{secrets.token_hex(6)}"
        self.directory = runtime_directory() / self.name
        self._exit = ExitStack()
        self._block_lock: RunLock | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            with _sweeping():
                _sweep_folders(self.directory.parent)
                _sweep_endpoints(self.directory.parent)
                sweep_listed(self.directory.parent)
                self.directory.mkdir(mode=0o700)
                stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
                stack.callback(RunLock.make(self.directory / "lock").release)
            _sweep_blocks()
            self._block_lock = RunLock.make(block_folder() / f"{self.name}.lock")
            stack.callback(self._block_lock.release)
            stack.callback(remove_blocks, f"{self.name}-")
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.close()

    def restore_lock(self) -> None:
        """Make the lock of the blocks again if it was removed together with blocks; no later run would sweep new ones.

        Raises:
            StageError: Shared memory cannot be written.
        """
        if self._block_lock is not None:
            self._block_lock.restore()


class Endpoint:
    """A publishing address, reserved for this run."""

    def __init__(self, bind: str, key: str = "publish.bind") -> None:
        """Reserve an address and resolve its `*`.

        Args:
            bind: The address.
            key: The setting that has it.

        Raises:
            EndpointInUseError: Another run or program uses it.
            SettingsError: This machine has no such address.
        """
        self.address = _try_to_bind(bind, key)
        digest = hashlib.sha256(self.address.encode()).hexdigest()[:16]
        self._lock = FileLock(runtime_directory() / f"endpoint-{digest}.lock")
        with _sweeping():
            if not _acquire(self._lock):
                raise _in_use(self.address, key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with _sweeping():
            _remove(self._lock)


@contextmanager
def _sweeping() -> Iterator[None]:
    """The lock to hold while making or removing locks of endpoints: none is removed before its maker locks it."""
    lock = FileLock(runtime_directory() / "sweep.lock")
    _acquire(lock, timeout=-1)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, timeout: float = 0) -> bool:
    """Lock a file if it is free within some seconds; -1 waits without an end.

    Raises:
        StageError: Something that is not a lock has its name.
    """
    try:
        lock.acquire(timeout)
    except Timeout:
        return False
    except OSError as error:
        raise StageError(f"{lock.lock_file} cannot be locked ({error.strerror}); remove it") from error
    return True


def _remove(lock: FileLock) -> None:
    lock.release()
    Path(lock.lock_file).unlink(missing_ok=True)


def _in_use(address: str, key: str) -> EndpointInUseError:
    return EndpointInUseError(f"{address} is in use; end the program that has it, or choose another with --set {key}=…")


def _try_to_bind(bind: str, key: str) -> str:
    check_endpoint(key, bind, any_port=True)
    if bind.startswith("ipc://"):
        _check_socket_path(bind, key)
    with zmq.Context() as context, context.socket(zmq.XPUB) as probe:
        probe.linger = 0
        probe.maxmsgsize = _PROBE_BYTES  # a subscriber may connect for that moment
        try:
            probe.bind(bind)
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE:
                raise _in_use(bind, key) from error
            raise SettingsError(
                f"{key}: cannot bind {bind} ({error.strerror}); expected an address of this machine"
            ) from error
        return probe.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")


def _check_socket_path(bind: str, key: str) -> None:
    """Refuse what binding would silently destroy: a file, or a socket in use."""
    path = Path(bind.removeprefix("ipc://"))
    if path.exists() and not path.is_socket():
        raise SettingsError(f"{key}: {path} exists and is not a socket; name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise _in_use(bind, key)


def _sweep_folders(folder: Path) -> None:
    for directory in folder.glob(f"{_PREFIX}*"):
        if _RUN.fullmatch(directory.name) and directory.is_dir() and not directory.is_symlink():
            lock = RunLock.of_dead(directory / "lock")
            if lock is not None:
                lock.release()
            if not os.path.lexists(directory / "lock"):
                shutil.rmtree(directory, ignore_errors=True)


def _sweep_endpoints(folder: Path) -> None:
    for path in folder.glob("endpoint-*.lock"):
        lock = FileLock(path)
        if path.is_file() and not path.is_symlink() and _acquire(lock):
            _remove(lock)


def _sweep_blocks() -> None:
    for path in block_folder().glob(f"{_PREFIX}*.lock"):
        lock = RunLock.of_dead(path) if _RUN.fullmatch(path.stem) else None
        if lock is not None:
            remove_blocks(f"{path.stem}-")
            lock.release()
