"""A process that may open no more files."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def open_files_limited_to(most: int) -> Iterator[None]:
    """Lower this process's soft limit of open files: descriptors that are open stay so, higher ones open no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def every_descriptor_taken() -> Iterator[None]:
    """Open files until this process may open no more."""
    taken: list[int] = [os.open(os.devnull, os.O_RDONLY)]
    try:
        with open_files_limited_to(taken[0] + 20):
            with suppress(OSError):
                while True:
                    taken.append(os.dup(taken[0]))
            yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
