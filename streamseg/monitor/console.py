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
    from streamseg.ipc.stage_messages import Finished, Published, Ready, Recorded, Subscribers
    from streamseg.messages import Models
    from streamseg.monitor.stats import RunStats, SourceStats

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
        self._ends: dict[str, str] = {}
        self._live = {source.name for source in config.sources if source.is_live}
        self._totals: dict[str, int | None] = dict.fromkeys(
            (source.name for source in config.sources), config.max_frames
        )
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
        total = len(self._config.ending) if self._config.waiting else self._total
        self._task = self._progress.add_task(f"loading {self._detector} + {self._segmenter}", total=total, rate="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loading.done()
        if self._task is not None and error is not None:
            self._progress.remove_task(self._task)
        self._progress.stop()

    def added(self, source: str, live: bool, stages: Sequence[str]) -> None:
        """Count a source that is added."""
        self._stats.added(source, stages)
        self._totals[source] = self._config.max_frames
        self._live = self._live | {source} if live else self._live - {source}

    def removed(self, source: str) -> None:
        """Count on without a source."""
        self._stats.removed(source)
        self._totals[source] = self._stats.sources[source].frames if source in self._stats.sources else 0

    def prepared(self, stage: str, source: str | None, ready: Ready) -> None:
        """Show how many frames there are; once every stage is ready, also the endpoint and the models."""
        self._stats.prepared(stage, source, ready)
        if stage == "segment":
            self._segmenter = ready.detail
        if self._stats.up:
            self._announce()
        if self._task is not None and source is not None and ready.frame_count is not None:
            self._totals[source] = min(ready.frame_count, self._config.max_frames or ready.frame_count)
            if not self._config.waiting:
                self._progress.update(self._task, total=self._total)

    def _announce(self) -> None:
        """Say once where results are published, and by which models."""
        if self._announced:
            return
        self._announced = True
        self._loading.done()
        self._print(f"publishing on {self._endpoint}")
        if self._config.control.bind is not None:
            self._print(f"control on {self._config.control.bind}")
        self._print(f"models: {self._detector} + {self._segmenter}")
        if self._metrics_url is not None:
            self._print(f"metrics on {self._metrics_url}")
        for line in self._notice:
            self._print(line)

    def published(self, published: Published) -> None:
        """Advance the bar."""
        self._announce()  # also while a camera is still absent
        run, stats = self._stats, self._stats.sources[published.source]
        run.published(published)
        if self._task is not None:
            if not self._config.waiting:
                self._progress.update(self._task, completed=run.frames)
            self._progress.update(self._task, description=self._doing, rate=f"{run.rate:.1f} frames/s")
        if stats.suggestion is not None and not self._suggested:
            self._suggested = True
            self._print(stats.suggestion)
        total = self._total
        if run.frames == SETTLED_FRAMES and total is not None:
            suggestion = suggest_keyframes(self._config, total - run.frames, run.rate)
            if suggestion is not None:
                self._print(suggestion)

    def recorded(self, recorded: Recorded) -> None:
        """Count what the recording misses."""
        self._stats.recorded(recorded)

    def subscribed(self, subscribers: Subscribers) -> None:
        """Count it."""
        self._stats.subscribed(subscribers)

    def changed(self, stage: str, source: str | None, state: str, detail: str) -> None:
        """Show that a source or a stage changed."""
        self._stats.changed(stage, source, state, detail)
        name = stage if source is None or len(self._stats.sources) == 1 else f"{source}: {stage}"
        self._print(f"{name}: {state}{f' ({detail})' if detail else ''}")
        if self._stats.up:
            self._announce()
        if self._task is not None and stage == "capture" and state != RUNNING:
            self._progress.update(self._task, description=state_text(name, state))

    def finished(self, finished: Finished) -> None:
        """Show that one of several sources has ended; a failure is shown as a change."""
        self._ends[finished.source] = finished.reason
        source = self._stats.sources[finished.source]
        if self._task is not None and self._config.waiting:  # the frames of files that wait are not known
            self._progress.update(self._task, completed=len(self._ends))
        if len(self._stats.sources) > 1 and source.failure is None:
            self._print(f"{finished.source}: {source.frames} frames, {finished.reason}")

    def logged(self, level: int, text: str) -> None:
        """Show a log line of a stage."""
        if level >= logging.getLogger("streamseg").getEffectiveLevel():
            self._print(text)

    def summary(self, reason: str) -> list[tuple[str, str]]:
        """The figures of the whole run as names and values; those of each of several sources share a row."""
        sources = self._stats.sources
        models = ("models", f"{self._detector} + {self._segmenter}")
        if len(sources) == 1:
            ((name, stats),) = sources.items()
            figures = self._figures(stats)
            return [
                ("frames", f"{stats.frames}, {stats.frames_with_masks} of them with masks"),
                ("ended", reason),
                ("seen", _seen(stats)),
                models,
                *figures,
                *_none_together({**self._losses(name, stats), **self._troubles()}),
            ]
        rows = [("ended", reason), models]
        for name, stats in sources.items():
            figures = self._figures(stats) if stats.frames else []
            parts = [f"{stats.frames} frames", *(f"{figure} {value}" for figure, value in figures)]
            parts += [f"{loss}: {text}" for loss, text in self._losses(name, stats).items() if text]
            own_end = self._ends.get(name, reason)
            if stats.failure:
                parts.append(f"failed: {stats.failure}")
            elif own_end != reason and not stats.removed:
                parts.append(f"ended: {own_end}")
            rows.append((name, "; ".join([*parts, *(["removed"] if stats.removed else [])])))
        return [*rows, *_none_together(self._troubles())]

    @property
    def _doing(self) -> str:
        """What the run does; the bar counts files if some wait for others, else frames."""
        return "segmenting files" if self._config.waiting else "segmenting"

    @property
    def _total(self) -> int | None:
        """Frames of all sources; None if that is not known."""
        totals = [total for total in self._totals.values() if total is not None]
        return sum(totals) if len(totals) == len(self._totals) else None

    def _figures(self, stats: SourceStats) -> list[tuple[str, str]]:
        """Rates and ages of a source."""
        live = self._config.resolved_mode == "live"
        rows = [
            ("rate", f"{stats.rate:.1f} frames/s"),
            ("keyframes segmented", f"{stats.keyframe_rate:.1f} frames/s"),
        ]
        if live:  # in every-frame mode a frame waits for its boxes and masks, however old it gets
            rows.append(("frame age, p50 / p99", percentiles_text(stats.frame_age_ms.percentiles())))
        if live or self._config.segmenter.keyframe_interval > 1:
            rows.append(("mask age, p50 / p99", percentiles_text(stats.mask_age_ms.percentiles())))
        if live:
            rows.append(("boxes of the same frame", share_text(stats.own_boxes)))
        return [*rows, ("objects with a mask", share_text(stats.masked))]

    def _losses(self, name: str, stats: SourceStats) -> dict[str, str]:
        """What was lost of a source; empty texts for nothing."""
        losses = {"dropped": counts_text(stats.dropped)}
        if name in self._live:
            losses["disconnected"] = losses_text(stats.disconnections, stats.lost_s)
        return losses

    def _troubles(self) -> dict[str, str]:
        """What went wrong with the stages and models; empty texts for nothing."""
        return {"restarts": counts_text(self._stats.restarts), "notices": "; ".join(self._notices())}

    def _notices(self) -> list[str]:
        """What was wrong with the models: what the preferred ones lack, and whether the masks starved."""
        notices = [] if self._models.notice is None else [self._models.notice]
        starved = [stats for stats in self._stats.sources.values() if stats.suggestion is not None]
        if starved:
            share = sum(stats.starved_frames for stats in starved) / self._stats.frames
            notices.append(f"{starved[0].suggestion} ({share_text(share)} of the frames)")
        return notices

    def _print(self, line: str) -> None:
        indent = " " * (len(line) - len(line.lstrip(" ")))
        self._console.print(indent + printable(line), markup=False, highlight=False, soft_wrap=True)


def _seen(stats: SourceStats) -> str:
    """The classes that were found in most frames."""
    seen = ", ".join(f"{name} in {count}" for name, count in stats.classes.most_common(6))
    return f"{seen} frames" if seen else "nothing"


def _none_together(texts: dict[str, str]) -> list[tuple[str, str]]:
    """A row for each text; what is empty shares one."""
    without = ", ".join(name for name, text in texts.items() if not text)
    rows = [(name, text) for name, text in texts.items() if text]
    return [*rows, (without, "none")] if without else rows
