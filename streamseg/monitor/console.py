"""Shows a run at the terminal: a progress bar while it lasts, and its figures at the end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from streamseg.messages import RUNNING
from streamseg.monitor.observer import Observer
from streamseg.monitor.patience import Announced
from streamseg.monitor.suggestions import suggest_keyframes
from streamseg.monitor.texts import counts_text, losses_text, percentiles_text, share_text, state_text
from streamseg.printable import printable

if TYPE_CHECKING:
    from streamseg.config import Config
    from streamseg.ipc.control import Published, Ready, Recorded, Subscribers
    from streamseg.messages import Models
    from streamseg.monitor.stats import RunStats

SETTLED_FRAMES: Final = 60
"""Frames after which the rate of a run is stable enough to predict its end."""


class RunDisplay(Observer):
    """Counts the events of a run and shows them on a console.

    Draws a progress bar on a terminal only.

    Args:
        console: Standard error, as a rule.
        stats: Counts the events.
        config: The settings of the run.
        models: The models of the run; `segment` may report a more exact name for its own.
        endpoint: Where results are published.
        notice: Why these are not the models that the settings prefer, and what to do about it, in lines.
        metrics_url: Where the figures are served, if they are.
    """

    def __init__(
        self,
        console: Console,
        stats: RunStats,
        config: Config,
        models: Models,
        *,
        endpoint: str,
        notice: Sequence[str] = (),
        metrics_url: str | None = None,
    ) -> None:
        self._console = console
        self._stats = stats
        self._config = config
        self._detector, self._segmenter = models.detector, models.segmenter
        self._endpoint = endpoint
        self._notice = notice
        self._metrics_url = metrics_url
        self._announced = False
        self._loading = Announced(f"loading {models.detector} + {models.segmenter}")
        self._models = models
        self._suggested = False
        self._total = config.max_frames
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console, disable=not console.is_interactive,
        )  # fmt: skip
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        if self._progress.disable:
            self._loading.__enter__()
        self._task = self._progress.add_task(
            f"loading {self._detector} + {self._segmenter}", total=self._total, rate=""
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loading.done()
        if self._task is not None and error is not None:
            self._progress.remove_task(self._task)
        self._progress.stop()

    def prepared(self, stage: str, ready: Ready) -> None:
        """Show how many frames there are; once every stage is ready, also the endpoint and the models."""
        self._stats.prepared(stage, ready)
        if stage == "segment":
            self._segmenter = ready.detail
        if self._stats.up and not self._announced:
            self._announced = True
            self._loading.done()
            self._print(f"publishing on {self._endpoint}")
            self._print(f"models: {self._detector} + {self._segmenter}")
            if self._metrics_url is not None:
                self._print(f"metrics on {self._metrics_url}")
            for line in self._notice:
                self._print(line)
        if self._task is not None and stage == "capture" and ready.frame_count is not None:
            self._total = min(ready.frame_count, self._config.max_frames or ready.frame_count)
            self._progress.update(self._task, total=self._total)

    def published(self, published: Published) -> None:
        """Advance the bar."""
        stats = self._stats
        stats.published(published)
        if self._task is not None:
            self._progress.update(
                self._task, description="segmenting", completed=stats.frames, rate=f"{stats.rate:.1f} frames/s"
            )
        if stats.suggestion is not None and not self._suggested:
            self._suggested = True
            self._print(stats.suggestion)
        if stats.frames == SETTLED_FRAMES and self._total is not None:
            suggestion = suggest_keyframes(self._config, self._total - stats.frames, stats.rate)
            if suggestion is not None:
                self._print(suggestion)

    def recorded(self, recorded: Recorded) -> None:
        """Count what the recording misses."""
        self._stats.recorded(recorded)

    def subscribed(self, subscribers: Subscribers) -> None:
        """Count it."""
        self._stats.subscribed(subscribers)

    def changed(self, stage: str, state: str, detail: str) -> None:
        """Show that the source or a stage changed."""
        self._stats.changed(stage, state, detail)
        self._print(f"{stage}: {state}{f' ({detail})' if detail else ''}")
        if self._task is not None and stage == "capture" and state != RUNNING:
            self._progress.update(self._task, description=state_text(stage, state))

    def logged(self, level: int, text: str) -> None:
        """Show a log line of a stage."""
        if level >= logging.getLogger("streamseg").getEffectiveLevel():
            self._print(text)

    def summary(self, reason: str) -> list[tuple[str, str]]:
        """The figures of the whole run as names and values: objects, models, rates, ages and losses."""
        stats, live = self._stats, self._config.resolved_mode == "live"
        seen = ", ".join(f"{name} in {count}" for name, count in stats.classes.most_common(6))
        rows = [
            ("frames", f"{stats.frames}, {stats.frames_with_masks} of them with masks"),
            ("ended", reason),
            ("seen", f"{seen} frames" if seen else "nothing"),
            ("models", f"{self._detector} + {self._segmenter}"),
            ("rate", f"{stats.rate:.1f} frames/s"),
            ("keyframes segmented", f"{stats.keyframe_rate:.1f} frames/s"),
        ]
        if live:  # in every-frame mode a frame waits for its boxes and masks, however old it gets
            rows.append(("frame age, p50 / p99", percentiles_text(stats.frame_age_ms.percentiles())))
        if live or self._config.segmenter.keyframe_interval > 1:
            rows.append(("mask age, p50 / p99", percentiles_text(stats.mask_age_ms.percentiles())))
        if live:
            rows.append(("boxes of the same frame", share_text(stats.own_boxes)))
        rows.append(("objects with a mask", share_text(stats.masked)))
        return rows + self._troubles()

    def _troubles(self) -> list[tuple[str, str]]:
        """What went wrong; what did not shares one row."""
        stats = self._stats
        troubles = {
            "dropped": counts_text(stats.dropped),
            "restarts": counts_text(stats.restarts),
            "notices": "; ".join(self._notices()),
        }
        if self._config.source.live:
            troubles["disconnected"] = losses_text(stats.disconnections, stats.lost_s)
        without = ", ".join(name for name, text in troubles.items() if not text)
        rows = [(name, text) for name, text in troubles.items() if text]
        return [*rows, (without, "none")] if without else rows

    def _notices(self) -> list[str]:
        """What was wrong with the models: what the preferred ones lack, and whether the masks starved."""
        notices = [] if self._models.notice is None else [self._models.notice]
        stats = self._stats
        if stats.suggestion is not None:
            notices.append(f"{stats.suggestion} ({share_text(stats.starved_frames / stats.frames)} of the frames)")
        return notices

    def _print(self, line: str) -> None:
        indent = " " * (len(line) - len(line.lstrip(" ")))
        self._console.print(indent + printable(line), markup=False, highlight=False, soft_wrap=True)
