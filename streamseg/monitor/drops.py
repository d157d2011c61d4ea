"""What the stages drop, added up over their restarts."""

from __future__ import annotations

from collections import Counter

import msgspec

from streamseg.messages import Dropped


class DropTally:
    """Adds up `Dropped`, whose counts begin at 0 again whenever the stage that counts is restarted.

    Attributes:
        total: Of the whole run, by cause.
    """

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self._last: Counter[str] = Counter()

    def add(self, dropped: Dropped) -> Counter[str]:
        """Take in the newest counts; by how much each cause has risen."""
        risen: Counter[str] = Counter()
        for cause, count in msgspec.structs.asdict(dropped).items():
            before = self._last[cause]
            risen[cause] = count - before if count >= before else count
            # A 0 itself says nothing: a new publish has not heard the others' counts yet.
            self._last[cause] = count or before
        self.total.update(risen)
        return risen
