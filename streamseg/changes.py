"""What a running pipeline changes when its settings do: its sources, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec.structs import replace

from streamseg.config import MOST_SOURCES, Config, RunSource, check_config
from streamseg.config_file import SettingsFile
from streamseg.errors import SettingsError, StreamsegError, UsageError
from streamseg.plan import RunPlan, check_sources


class ChangingPlan:
    """The plan of a run whose sources are added and removed. A change that is refused changes nothing.

    Attributes:
        plan: What is to run now.
    """

    def __init__(self, config: Config, plan: RunPlan, *, overwrite: bool, file: SettingsFile | None = None) -> None:
        """Begin with the plan of the start.

        Args:
            config: The settings that the plan was made from.
            plan: Of the start.
            overwrite: Whether recordings may replace files that exist.
            file: Where the settings are read again; None if there is no file.
        """
        self.plan = plan
        self.on_change: Callable[[Config], None] = lambda config: None
        """Called after each change with the settings of the plan."""
        self._config = config if file is None else file.config
        self._overwrite = overwrite
        self._file = file
        self._recorders = _recorders(plan.config, plan.config.sources)

    def reload(self) -> str:
        """Read the settings file again: then the run has the sources of the file. Returns what changes, in one line.

        Raises:
            StreamsegError: The run has no file, or the file is invalid, or has other settings than the run.
        """
        if self._file is None:
            raise UsageError("the run has no settings file; give it one: streamseg run CONFIG")
        with _harmless():
            return self._change(self._file.read_again())

    def add(self, source: Mapping[str, object]) -> str:
        """Add a source, given as in the list `sources`. Returns what changes, in one line.

        Raises:
            StreamsegError: The source is invalid, or the run has as many as it can.
        """
        sources = self._config.sources
        if len(sources) >= MOST_SOURCES:
            raise SettingsError(f"sources: one run takes at most {MOST_SOURCES}; remove one first")
        tree = msgspec.to_builtins(self._config)
        with _harmless():
            return self._change(check_config({**tree, "sources": [*tree["sources"], dict(source)]}))

    def remove(self, name: str) -> str:
        """Remove a source. Returns what changes, in one line.

        Raises:
            UsageError: There is no such source, or no other one.
        """
        left = tuple(source for source in self._config.sources if source.name != name)
        if len(left) == len(self._config.sources):
            names = ", ".join(source.name for source in left)
            raise UsageError(f"{name[:80]}: there is no such source; expected one of {names}")
        if not left:
            raise UsageError(f"{name} is the only source; stop the run instead")
        return self._change(replace(self._config, sources=left))

    def _change(self, config: Config) -> str:
        looked_at = self._looked_at(config.sources)
        self._refuse_other_changes(config, replace(config, sources=looked_at).resolved_mode)
        before = {source.name: source for source in self.plan.config.sources}
        new = replace(self.plan.config, sources=looked_at)
        added = [source for source in looked_at if before.get(source.name) != source]
        check_sources(new, added, overwrite=self._overwrite)
        recorders = _recorders(new, added)
        self._refuse_shared_files(recorders)
        self._recorders |= recorders
        self._config, self.plan = config, dataclasses.replace(self.plan, config=new)
        self.on_change(new)
        return _describe(before, looked_at)

    def _looked_at(self, sources: tuple[RunSource, ...]) -> tuple[RunSource, ...]:
        """The sources, and of those with the same address as before, whether they are live."""
        live = {source.url: source.live for source in self.plan.config.sources}
        return tuple(
            replace(source, live=live.get(source.url)) if source.live is None else source for source in sources
        )

    def _refuse_shared_files(self, recorders: Mapping[str, str]) -> None:
        """Refuse a file that another source records, or has recorded: it may still be at work on it."""
        for path, source in recorders.items():
            if self._recorders.get(path, source) != source:
                raise SettingsError(f"{path} is a recording of {self._recorders[path]}; name another file")

    def _refuse_other_changes(self, config: Config, mode: str) -> None:
        running = self.plan.config.resolved_mode
        old, new = (
            msgspec.to_builtins(replace(each, sources=(), mode=each_mode))
            for each, each_mode in ((self._config, running), (config, mode))
        )
        key = next(_differences(old, new), None)
        if key == "mode":
            raise SettingsError(f"mode: the run is {running}, and with these settings it would be {mode}; restart it")
        if key is not None:
            raise SettingsError(
                f"{key}: has changed, and a running pipeline changes only its sources; restart it, or undo this change"
            )


def _recorders(config: Config, sources: Iterable[RunSource]) -> dict[str, str]:
    """The files that sources record, and which source does."""
    records = {source.name: config.of(source.name).record for source in sources}
    return {
        str(Path(path).absolute()): name
        for name, record in records.items()
        for path in (record.video, record.jsonl)
        if path is not None
    }


@contextmanager
def _harmless() -> Iterator[None]:
    """Make any error one of the settings: on the supervisor's thread, another one would end the run."""
    try:
        yield
    except StreamsegError:
        raise
    except Exception as error:
        raise SettingsError(f"the settings cannot be used ({type(error).__name__}: {error})") from error


def _differences(old: object, new: object, key: str = "") -> Iterator[str]:
    """The keys of values that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old:
            yield from _differences(old[name], new[name], f"{key}.{name}".lstrip("."))
    elif old != new:
        yield key


def _describe(before: Mapping[str, RunSource], sources: Sequence[RunSource]) -> str:
    """The names of the sources that are added, removed and changed."""
    after = {source.name: source for source in sources}
    groups = {
        "added": [name for name in after if name not in before],
        "removed": [name for name in before if name not in after],
        "changed": [name for name in after if name in before and before[name] != after[name]],
    }
    return "; ".join(f"{what} {', '.join(names)}" for what, names in groups.items() if names) or "no source has changed"
