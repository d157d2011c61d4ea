"""How much memory a process may address. libzmq and OpenCV end the process when they find none."""

from __future__ import annotations

import resource
from typing import Final

from streamseg.errors import StageError

_NEEDED_MB: Final = 600
"""10^6 bytes. With the smallest models a stage addresses that much, most of it libraries and stacks of threads."""


def check_address_space() -> None:
    """Check that the processes of a run may address enough memory.

    Raises:
        StageError: They may not.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < _NEEDED_MB * 1_000_000:
        raise StageError(
            f"a process may address {soft / 1e6:.0f} MB here, and a run needs {_NEEDED_MB} or more; "
            "allow more (`ulimit -v unlimited`)"
        )
