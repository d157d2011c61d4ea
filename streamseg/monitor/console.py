"""What the commands show of a run: a progress bar while it lasts, and its figures at its end."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from streamseg.monitor.stats import RunFigures
from streamseg.monitor.suggestion import SETTLED_FRAMES, suggest_keyframes
from streamseg.monitor.texts import counts_text, percentiles_text, share_text

if TYPE_CHECKING:
    from streamseg.config import Config
    from streamseg.ipc.control import Published, Ready
    from streamseg.messages import Models


class RunDisplay:
    """Shows a run on a console; the pipeline's observer. A bar is only drawn on a terminal."""

    def __init__(
        self,
        console: Console,
        config: Config,
        models: Models,
        stages: Iterable[str],
        *,
        endpoint: str,
        notice: str | None = None,
        metrics_url: str | None = None,
    ) -> None:
        self._console = console
        self._endpoint = endpoint
        self._metrics_url = metrics_url
        self._detector, self._segmenter = models.detector, models.segmenter
        self._notice = notice
        self._config = config
        self._limit = self._total = config.max_frames
        self._unprepared = set(stages)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
            console=console, disable=not console.is_interactive,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._figures = RunFigures()

    def __enter__(self) -> Self:
        self._progress.start()
        self._task = self._progress.add_task("starting", total=self._limit, rate="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
            self._total = min(ready.frame_count, self._limit or ready.frame_count)
            self._progress.update(self._task, total=self._total)

    def published(self, published: Published) -> None:
        """Count a frame."""
        figures = self._figures
        figures.add(published)
        if self._task is not None:
            self._progress.update(
                self._task, description="segmenting", completed=figures.frames, rate=f"{figures.rate:.1f} frames/s"
            )
        if figures.frames == SETTLED_FRAMES and self._total is not None:
            suggestion = suggest_keyframes(self._config, self._total - figures.frames, figures.rate)
            if suggestion is not None:
                self._print(suggestion)

    def changed(self, stage: str, state: str, detail: str) -> None:
        """Show a change of the source or a stage."""
        if state == "restarting":
            self._figures.restarts[stage] += 1
        self._print(f"{stage}: {state}{f' ({detail})' if detail else ''}")

    def logged(self, level: int, text: str) -> None:
        """Show a stage's log line."""
        if level >= logging.getLogger("streamseg").getEffectiveLevel():
            self._print(text)

    def summary(self, reason: str) -> list[tuple[str, str]]:
        """What was seen, with which models, how fast, how late, and what was lost: names and values."""
        figures = self._figures
        seen = ", ".join(f"{name} in {count}" for name, count in figures.classes.most_common(6))
        return [
            ("frames", f"{figures.frames}, {figures.frames_with_masks} of them with masks"),
            ("ended", reason),
            ("seen", f"{seen} frames" if seen else "nothing"),
            ("models", f"{self._detector} + {self._segmenter}"),
            ("rate", f"{figures.rate:.1f} frames/s"),
            ("keyframes segmented", f"{figures.keyframe_rate:.1f} frames/s"),
            ("frame age, p50 / p99", percentiles_text(figures.frame_age_ms.percentiles())),
            ("mask age, p50 / p99", percentiles_text(figures.mask_age_ms.percentiles())),
            ("boxes of the same frame", share_text(figures.own_boxes)),
            ("objects with a mask", share_text(figures.masked)),
            ("dropped", counts_text(figures.drops.total)),
            ("restarts", counts_text(figures.restarts)),
        ]

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
