"""Progress bars of long work on a terminal. Elsewhere a line announces each download."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from streamseg.models.weights import WeightsProgress


class WorkDisplay:
    """Shows the progress of long work and the time left.

    Args:
        description: Name of the work, such as `annotating`.
        total: Steps until the end; None if unknown.
        console: Standard error by default.
    """

    def __init__(self, description: str, total: int | None, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=console, disable=not console.is_interactive,
        )  # fmt: skip
        self._task = self._progress.add_task(description, total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, done: int, total: int | None = None) -> None:
        """Set the number of steps done; `total` if it is known by now."""
        self._progress.update(self._task, completed=done, total=total)


class DownloadDisplay:
    """Shows downloads and exports, one after the other. Draws bars on a terminal only."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            console=self._console, disable=not self._console.is_interactive,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, progress: WeightsProgress) -> None:
        """Show the progress of an export or of a download, also of one in another process."""
        description = f"{progress.activity} {progress.name}{progress.host and f' from {progress.host}'}"
        if description not in self._tasks:
            if self._progress.disable:
                self._console.print(description, markup=False, highlight=False)
            self._progress.start()
            # The bytes of an earlier attempt do not count for the speed of this one.
            self._tasks[description] = self._progress.add_task(
                description, total=progress.total, completed=progress.done
            )
        self._progress.update(self._tasks[description], completed=progress.done)
