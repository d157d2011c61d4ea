"""What a run occupies on the machine: a private folder, blocks of shared memory and its endpoint; and their removal."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import zmq
from filelock import FileLock, Timeout

from streamseg.endpoints import check_endpoint, has_listener
from streamseg.errors import EndpointInUseError, SettingsError, StageError
from streamseg.ipc.listed_runs import sweep_listed
from streamseg.ipc.ring import block_folder, remove_blocks
from streamseg.ipc.run_lock import RunLock
from streamseg.runtime_folder import PREFIX, runtime_directory

_RUN: Final = re.compile(rf"{PREFIX}[0-9a-f]{{12}}")
_PROBE_BYTES = 1024


class Instance:
    """One run's folder and its blocks. Entering removes what dead runs left; leaving removes its own.

    The folder and the blocks have a lock each, beside them: a run that sees only one of the two places, as a service
    with a private `/tmp` does, sweeps that one.
    """

    def __init__(self) -> None:
        self.name = f"{PREFIX}{secrets.token_hex(6)}"
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
    if has_listener(key, bind):
        raise _in_use(bind, key)
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


def _sweep_folders(folder: Path) -> None:
    for directory in folder.glob(f"{PREFIX}*"):
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
    for path in block_folder().glob(f"{PREFIX}*.lock"):
        lock = RunLock.of_dead(path) if _RUN.fullmatch(path.stem) else None
        if lock is not None:
            remove_blocks(f"{path.stem}-")
            lock.release()
