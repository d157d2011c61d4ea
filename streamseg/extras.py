"""The extras of the distribution: without them, `pip install` brings only what a subscriber needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

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
        raise _missing(purpose, error.name, extra) from error


def is_installed(package: str) -> bool:
    """Whether a package is installed, without importing it."""
    return find_spec(package) is not None


def require(package: str, purpose: str, extra: str = "run") -> None:
    """Check for a package that is imported later, perhaps in another process.

    Raises:
        MissingPackageError: It is not installed. The message names it, and what to install.
    """
    if not is_installed(package):
        raise _missing(purpose, package, extra)


def _missing(purpose: str, package: str, extra: str) -> MissingPackageError:
    return MissingPackageError(
        f"{purpose} needs the package {package}, which is not installed; pip install 'streamseg[{extra}]'"
    )
