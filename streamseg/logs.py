"""Log lines: one format, no passwords."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable


def redact(text: str) -> str:
    """Replace the password in every `scheme://user:password@host` of a text with asterisks."""
    return re.sub(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s/]*@", r"\1:***@", text)


class ForwardingHandler(logging.Handler):
    """Passes each log record to a function, as level and redacted text."""

    def __init__(self, forward: Callable[[int, str], None]) -> None:
        super().__init__()
        self._forward = forward

    def emit(self, record: logging.LogRecord) -> None:
        """Format the record and pass it on."""
        self._forward(record.levelno, redact(self.format(record)))
