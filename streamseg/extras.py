"""The extras of the distribution: without them, `pip install` brings only what a subscriber needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamseg.errors import MissingPackageError


@contextmanager
def needed_for(purpose: str, extra: str = "run") -> Iterator[None]:
    """Import in this block what only an extra installs.

    Args:
        purpose: What needs it; the message starts with this.
        extra: Name of the extra that installs it.

    Raises:
        MissingPackageError: A package is not installed. The message names it, and what to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "streamseg":
            raise  # a mistake of ours, which no package repairs
        raise MissingPackageError(
            f"{purpose} needs the package {error.name}, which is not installed; pip install 'streamseg[{extra}]'"
        ) from error
