"""A file that arrives in pieces: it grows beside the place that it will take, and outlives the process that fetches it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO

import msgspec


def without_password(url: str) -> str:
    """An address as it may be shown and stored: without the user and the password that it may hold."""
    return re.sub(r"(?<=//)[^/?#]*@", "", url)


class Origin(msgspec.Struct, frozen=True):
    """Where the pieces come from.

    Attributes:
        url: What was asked for, without a password.
        validator: By what the server knows the same content again (a strong ETag, or a Last-Modified); None where it said nothing.
    """

    url: str
    validator: str | None = None


class PartFile:
    """The pieces of one file and, in a small file beside them, their origin. One process at a time may write."""

    def __init__(self, target: Path) -> None:
        """Look for the pieces of a file that will be `target`; nothing is touched."""
        self.path = target.with_name(f"{target.name}.part")
        self._target = target
        self._record = target.with_name(f"{target.name}.part.json")

    @property
    def length(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def origin(self) -> Origin | None:
        """Where the pieces come from; None where there are none, or nobody knows."""
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=Origin)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def begin(self, origin: Origin) -> BinaryIO:
        """Open for a first piece; what was there is lost."""
        # In this order a process that is killed in between leaves nothing that looks like pieces of another origin.
        self.path.write_bytes(b"")
        self._record.write_bytes(msgspec.json.encode(origin))
        return self.go_on()

    def go_on(self) -> BinaryIO:
        """Open for one more piece."""
        return self.path.open("ab")

    def drop(self) -> None:
        """Throw the pieces away."""
        self.path.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give the file its name; from then on it is whole for whoever sees it, even after a power cut."""
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        self.path.replace(self._target)
        self._record.unlink(missing_ok=True)
