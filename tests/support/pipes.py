"""Makes the pipes of running processes small, and fills them: faults that otherwise take a program minutes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import psutil

_PAGE = 4096


def fill(process: int, number: int) -> None:
    """Fill the pipe that a process has as a descriptor of that number, as somebody does who shares it."""
    writing = os.open(f"/proc/{process}/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PAGE)
        while True:
            os.write(writing, b"x")
    except BlockingIOError:
        pass
    finally:
        os.close(writing)


def shrink_pipes_between(writer: psutil.Process, reader: psutil.Process) -> None:
    """Give each pipe from one process to the other room for one page."""
    common = set(_pipes(writer, os.O_WRONLY)) & set(_pipes(reader, os.O_RDONLY))
    assert common
    for pipe in common:
        writing = os.open(_pipes(writer, os.O_WRONLY)[pipe], os.O_WRONLY | os.O_NONBLOCK)
        try:
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PAGE)
        finally:
            os.close(writing)


def _pipes(process: psutil.Process, access: int) -> dict[str, Path]:
    """The pipes that a process reads or writes, by their names, and where it has them open."""
    found = {}
    for path in Path(f"/proc/{process.pid}/fd").iterdir():
        flags = Path(f"/proc/{process.pid}/fdinfo/{path.name}").read_text().split("flags:")[1].split()[0]
        name = str(path.readlink())
        if name.startswith("pipe:") and int(flags, 8) & os.O_ACCMODE == access:
            found[name] = path
    return found
