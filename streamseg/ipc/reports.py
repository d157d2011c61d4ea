"""What a stage reports to the supervisor, without waiting for it: if it is paused, live frames go on."""

from __future__ import annotations

import os
import threading
from typing import Final

from streamseg.ipc.stage_messages import LogLine, Progress, Published, Recorded, ToSupervisor, packet

_MOST_WAITING: Final = 4 << 20
"""Bytes that wait for a supervisor that reads nothing: minutes of a live run."""
_EXPENDABLE: Final = (Published, Recorded, Progress, LogLine)
"""Left out when more wait: a later report of the kind says what matters of it. In every-frame mode, none wait."""


class ReportWriter:
    """Writes reports to a pipe; what it has no room for waits here. Safe to use from several threads."""

    def __init__(self, descriptor: int) -> None:
        """Take over the writing end of a pipe, which from now on never blocks."""
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._waiting = bytearray()
        self._lock = threading.Lock()

    def send(self, report: ToSupervisor) -> None:
        """Write a report, or keep it until `flush` can.

        Raises:
            OSError: The supervisor is gone.
        """
        with self._lock:
            if len(self._waiting) < _MOST_WAITING or not isinstance(report, _EXPENDABLE):
                self._waiting += packet(report)
            self._write()

    def flush(self) -> None:
        """Write what waits, as far as there is room; call it every turn.

        Raises:
            OSError: The supervisor is gone.
        """
        with self._lock:
            self._write()

    def drain(self) -> None:
        """Write everything that waits, at the end of the process, however long the supervisor is paused.

        Raises:
            OSError: The supervisor is gone.
        """
        with self._lock:
            os.set_blocking(self._descriptor, True)
            self._write()

    def _write(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: os.write(self._descriptor, self._waiting)]
        except BlockingIOError:
            return
        except OSError:
            self._waiting.clear()  # for good: there is nobody to tell
            raise
