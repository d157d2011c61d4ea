"""What a stage sent last, to be repeated for a stage that is new."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from streamseg.ipc.ring import DEFAULT_SLOTS

Message = TypeVar("Message")


class Recent(OrderedDict[int, Message]):
    """The latest messages by sequence number: as many as there are frames in the ring."""

    def add(self, seq: int, message: Message) -> None:
        """Add a message and drop the oldest beyond the limit."""
        self[seq] = message
        while len(self) > DEFAULT_SLOTS:
            self.popitem(last=False)
