"""The user's private folder for sockets and locks. Every process of this user finds the same one."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from streamseg.errors import StageError

PREFIX: Final = "streamseg-"
"""Start of the names of the folder and of all that a run makes."""
_LONGEST_FOLDER: Final = 60  # leaves room for the names of the run and of its sockets


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
        folder = parent / f"{PREFIX}{user}"
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
