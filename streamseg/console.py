"""What the commands show of a run: a progress bar while it lasts, and a few lines at its end."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from streamseg.pipeline import STAGES

if TYPE_CHECKING:
    from streamseg.ipc.control import Published, Ready
    from streamseg.plan import RunPlan
    from streamseg.supervisor import Observer, Outcome


class RunDisplay:
    """Shows a run on a console; the pipeline's observer. A bar is only drawn on a terminal."""

    def __init__(self, console: Console, endpoint: str, plan: RunPlan, *, metrics_url: str | None = None) -> None:
        self._console = console
        self._endpoint = endpoint
        self._metrics_url = metrics_url
        self._detector, self._segmenter = plan.models.detector, plan.models.segmenter
        self._notice = plan.notice
        self._limit = plan.config.max_frames
        self._unprepared = {entry.name for entry in STAGES}
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
            console=console, disable=not console.is_interactive,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._frames = self._frames_with_masks = 0
        self._classes: Counter[str] = Counter()
        self._first_s = self._last_s = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        self._task = self._progress.add_task("starting", total=self._limit, rate="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._task is not None and error is not None:
            self._progress.remove_task(self._task)
        self._progress.stop()

    def prepared(self, stage: str, ready: Ready) -> None:
        """Learn how many frames there will be; once every stage is ready, say where the results are, and what makes them."""
        if stage == "segment":
            self._segmenter = ready.detail
        if self._unprepared == {stage}:
            self._print(f"publishing on {self._endpoint}")
            self._print(f"models: {self._detector} + {self._segmenter}")
            if self._metrics_url is not None:
                self._print(f"metrics on {self._metrics_url}")
            if self._notice is not None:
                self._print(self._notice)
        self._unprepared.discard(stage)
        if self._task is not None and stage == "capture" and ready.frame_count is not None:
            total = min(ready.frame_count, self._limit or ready.frame_count)
            self._progress.update(self._task, total=total)

    def published(self, published: Published) -> None:
        """Count a frame."""
        self._last_s = time.monotonic()
        self._first_s = self._first_s or self._last_s
        self._frames += 1
        self._frames_with_masks += bool(published.masks)
        self._classes.update(published.classes)
        if self._task is not None:
            self._progress.update(self._task, description="segmenting", completed=self._frames, rate=f"{self.rate:.1f} frames/s")

    def changed(self, stage: str, state: str, detail: str) -> None:
        """Show a change of the source or a stage."""
        self._print(f"{stage}: {state}{f' ({detail})' if detail else ''}")

    def logged(self, level: int, text: str) -> None:
        """Show a stage's log line."""
        if level >= logging.getLogger("streamseg").getEffectiveLevel():
            self._print(text)

    @property
    def rate(self) -> float:
        """Published frames a second, from the first to the last."""
        return (self._frames - 1) / (self._last_s - self._first_s) if self._frames > 1 and self._last_s > self._first_s else 0.0

    def summary(self, outcome: Outcome) -> list[str]:
        """A few lines on what was seen, with which models, how fast."""
        seen = ", ".join(f"{name} in {count}" for name, count in self._classes.most_common(6)) or "nothing"
        return [
            f"{self._frames} frames, {self._frames_with_masks} of them with masks ({outcome.reason})",
            f"seen: {seen} frames" if self._classes else "seen: nothing",
            f"models: {self._detector} + {self._segmenter}, {self.rate:.1f} frames/s",
        ]

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Observers:
    """Tells several observers, in turn, what happens."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def prepared(self, stage: str, ready: Ready) -> None:
        """A stage has said that it is ready."""
        for observer in self._observers:
            observer.prepared(stage, ready)

    def published(self, published: Published) -> None:
        """A frame has been published."""
        for observer in self._observers:
            observer.published(published)

    def changed(self, stage: str, state: str, detail: str) -> None:
        """The source or a stage changed."""
        for observer in self._observers:
            observer.changed(stage, state, detail)

    def logged(self, level: int, text: str) -> None:
        """A stage wrote a log line."""
        for observer in self._observers:
            observer.logged(level, text)
