"""Log lines: one format, no passwords."""

from __future__ import annotations

import logging
from collections.abc import Callable

from streamseg.redaction import redact


class ForwardingHandler(logging.Handler):
    """Passes each log record to a function, as level and redacted text."""

    def __init__(self, forward: Callable[[int, str], None]) -> None:
        super().__init__()
        self._forward = forward

    def emit(self, record: logging.LogRecord) -> None:
        """Format the record and pass it on."""
        self._forward(record.levelno, redact(self.format(record)))
