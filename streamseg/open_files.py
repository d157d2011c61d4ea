"""How many files a process may have open. Sockets, pipes and shared memory count too."""

from __future__ import annotations

import os
import resource
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from streamseg.errors import StageError

NEEDED: Final = 96
"""Open files that a process of a run needs."""
OWN: Final = 64
"""Of these, for its own work; all others may be connections of subscribers."""
_ENOUGH: Final = 4096


def limit() -> int:
    """How many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def raise_limit() -> None:
    """Raise this process's limit as far as the system allows, and as a stage may need."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if limit() < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def check_limit() -> None:
    """Check that the processes of a run may have enough files open.

    Raises:
        StageError: They may not.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < NEEDED:
        raise StageError(
            f"a process may have {hard} files open here, and a run needs {NEEDED}; allow more (`ulimit -n 1024`)"
        )


class Reserve:
    """Descriptors kept for later, when this process may have opened all that it may."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: list[int] = []
        self._fill()
        weakref.finalize(self, _close, self._held)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Free them for the length of a block; what it does not use up is kept again."""
        _close(self._held)
        try:
            yield
        finally:
            self._fill()

    def _fill(self) -> None:
        with suppress(OSError):
            while len(self._held) < self._count:
                self._held.append(os.open(os.devnull, os.O_RDONLY))


def _close(held: list[int]) -> None:
    while held:
        os.close(held.pop())
