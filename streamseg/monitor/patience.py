"""Says what slow work is being done, if it takes longer than a moment."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Final, Self

PATIENCE_S: Final = 2.0
"""Seconds without a line that need no explanation."""


class Announced:
    """Prints `work` to a terminal once, if the block is not left and `done` not called within a moment.

        with Announced("loading PyTorch"):
            import torch

    Args:
        work: A participle phrase.
        after_s: The moment.
    """

    def __init__(self, work: str, after_s: float = PATIENCE_S) -> None:
        self._timer = threading.Timer(after_s, lambda: print(f"{work} ...", file=sys.stderr, flush=True))  # noqa: T201
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if sys.stderr.isatty():  # elsewhere, what is printed must not depend on how fast the machine is
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.done()

    @property
    def waiting(self) -> bool:
        """Whether the line may still be printed."""
        return not self._timer.finished.is_set()

    def done(self) -> None:
        """Note that the work is done."""
        self._timer.cancel()
