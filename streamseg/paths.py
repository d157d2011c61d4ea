"""Paths as users give them: file names of any bytes, but no URLs."""

from __future__ import annotations

import errno
import re
import stat
from pathlib import Path
from typing import Final

from streamseg.errors import SourceError

_URL: Final = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_SMALL: Final = 4096
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def local_path(text: str | Path, expected: str) -> Path:
    """The path that a text names, with `~` resolved.

    Args:
        text: Of the user.
        expected: What else may be given, for the error.

    Raises:
        SourceError: It is a URL, which would lose a slash as a path, or the home of an unknown user.
    """
    refuse_url(str(text), expected)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise SourceError(f"{text}: there is no such user; give {expected}") from error


def refuse_url(text: str, expected: str) -> None:
    """Check that a text is not a URL.

    Raises:
        SourceError: It is.
    """
    scheme = _URL.match(text)
    if scheme is not None:
        raise SourceError(f"{text}: {scheme[1]}:// cannot be read; give {expected}")


def irregularity(path: Path) -> str | None:
    """What an existing path names other than a regular file, such as `a folder`; None for a regular file.

    Reading a pipe may never end, and reading a device never does.

    Raises:
        OSError: It does not exist, or cannot be accessed.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"


def read_small(path: Path) -> bytes:
    """Read a file that cannot be large: a password, a key.

    Raises:
        OSError: It cannot be read, is no regular file, or has more than `_SMALL` bytes; `strerror` says which.
    """
    if (other := irregularity(path)) is not None:
        raise OSError(errno.EINVAL, f"it is {other}")
    with path.open("rb") as file:
        content = file.read(_SMALL + 1)
    if len(content) > _SMALL:
        raise OSError(errno.EFBIG, f"it has more than {_SMALL} bytes")
    return content


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8. Python has other bytes of file names and arguments as lone surrogates."""
    return _LONE_SURROGATE.search(text) is None


def unicode_name(name: str) -> str:
    """A file name for JSON and for file systems elsewhere: bytes that are not UTF-8 become `%XX`."""
    return _LONE_SURROGATE.sub(lambda found: f"%{ord(found[0]) & 0xFF:02X}", name)
