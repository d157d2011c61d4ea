"""A source that takes frames of other programs, read by a thread as a run does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from streamseg.config import RunSource
from streamseg.messages import Frame
from streamseg.push.source import PushedSource
from streamseg.sources import SourceChange
from support.pipeline_runs import until

WITHIN_S = 20.0


class ReadSource:
    """Keeps what the source yields.

    Attributes:
        endpoint: Of the source.
        hold: Cleared, the reader takes nothing more, like a pipeline that is busy.
    """

    def __init__(self, settings: RunSource) -> None:
        self.endpoint = settings.address.removeprefix("push:")
        self.source = PushedSource(settings)
        self.items: list[Frame | SourceChange] = []
        self.hold = threading.Event()
        self.hold.set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self.hold.set()
        self._thread.join()

    @property
    def frames(self) -> list[Frame]:
        return [item for item in self.items if isinstance(item, Frame)]

    @property
    def changes(self) -> list[tuple[str, str]]:
        return [(item.state, item.detail) for item in self.items if isinstance(item, SourceChange)]

    def until(self, condition: Callable[[Self], object], what: str) -> None:
        until(lambda: condition(self), WITHIN_S, what)

    def until_frames(self, count: int) -> None:
        self.until(lambda read: len(read.frames) >= count, f"{count} frames")

    def _read(self) -> None:
        for item in self.source.frames(0, self._stop):
            self.items.append(item)
            self.hold.wait()
        self.source.close()
