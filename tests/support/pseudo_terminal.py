"""A command on a pseudo-terminal, with its output as a user sees it."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from support.leftovers import Place


class Terminal:
    """A command on a pseudo-terminal of 160 columns, and its output."""

    def __init__(self, place: Place, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
        environment = {**os.environ, **place.environment, "TERM": "xterm"}
        for name in ("COLUMNS", "LINES"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamseg.cli", *arguments],
            cwd=place.folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
        )
        os.close(slave)
        self._written = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        # A chunk may end within a character, and Ctrl-C may end the program there.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while True:
            try:
                piece = os.read(self._master, 65536)
            except OSError:  # Linux: the other end is closed
                return
            if not piece:
                return
            self._written += decoder.decode(piece)

    @property
    def text(self) -> str:
        """The output without the codes for cursor and colour."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._written)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._master)


@contextmanager
def terminal(place: Place, *arguments: str) -> Iterator[Terminal]:
    shown = Terminal(place, *arguments)
    try:
        yield shown
    finally:
        shown.close()
