"""Log lines: one format, no passwords, nothing that controls a terminal."""

from __future__ import annotations

import logging
from collections.abc import Callable

from streamseg.printable import printable
from streamseg.redaction import redact


class ForwardingHandler(logging.Handler):
    """Passes each log record to a function, as level and text that is redacted and printable."""

    def __init__(self, forward: Callable[[int, str], None]) -> None:
        super().__init__()
        self._forward = forward

    def emit(self, record: logging.LogRecord) -> None:
        """Format the record and pass it on."""
        self._forward(record.levelno, printable(redact(self.format(record))))
