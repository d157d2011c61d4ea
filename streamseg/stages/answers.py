"""What a stage answered last, to be repeated for a stage that is new."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from streamseg.ipc.ring import DEFAULT_SLOTS

Answer = TypeVar("Answer")


class LatestAnswers(OrderedDict[int, Answer]):
    """Answers by sequence number: as many as there are frames in the window."""

    def remember(self, seq: int, answer: Answer) -> None:
        """Add an answer; the oldest one goes."""
        self[seq] = answer
        while len(self) > DEFAULT_SLOTS:
            self.popitem(last=False)
