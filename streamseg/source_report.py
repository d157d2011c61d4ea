"""What the sources of a settings file send, and what they cost together with the models: `doctor CONFIG`.

Imports what a pipeline needs, so that `doctor` must have found that this works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from msgspec.structs import replace

from streamseg.capacity import BOXES, Keyframes, Load, measure_keyframes, measure_load
from streamseg.config import Config, RunSource
from streamseg.doctor import Check, Diagnosis, run_check, suffices
from streamseg.errors import StageError, StreamsegError
from streamseg.pipeline import STAGES
from streamseg.plan import find_models
from streamseg.sources.presence import check_present
from streamseg.sources.probe import Probe, SourceFigures, probe_source

_AT_ONCE: Final = 16
"""Sources that are open at the same time."""
_MUCH_LARGER: Final = 1.25
"""Times the side of the segmenter's input from which a camera's smaller stream is worth a hint."""
_Measured = TypeVar("_Measured")


class SourceDiagnosis(Diagnosis, frozen=True, kw_only=True):
    """The checks of a machine and of the sources of a run.

    Attributes:
        sources: What they send, by name; those that can be opened.
        load: What their frames cost together; None if that could not be measured.
        keyframes: How often they can be segmented; None if that could not be measured.
    """

    sources: dict[str, SourceFigures]
    load: Load | None
    keyframes: Keyframes | None


def examine_sources(config: Config, machine: Diagnosis, seconds: float) -> SourceDiagnosis:
    """Open every source for some seconds, and measure the models with their pictures.

    Args:
        config: Of the run.
        machine: The checks of this machine, on which a pipeline can run.
        seconds: How long each source is read.
    """
    config, probes, failures = _probe(config, seconds)
    load, keyframes = _measure(config, probes) if probes else (None, None)
    checks = (*machine.checks, *_checks(config, probes, failures), *_cost_checks(load, keyframes, len(probes)))
    return SourceDiagnosis(
        can_run=suffices(checks),
        checks=checks,
        sources={name: probe.figures for name, probe in probes.items()},
        load=load if isinstance(load, Load) else None,
        keyframes=keyframes if isinstance(keyframes, Keyframes) else None,
    )


def _probe(config: Config, seconds: float) -> tuple[Config, dict[str, Probe], dict[str, StreamsegError]]:
    """Open all sources, some at a time.

    Returns:
        The settings with what a look at the sources shows, those that can be read, and why the others cannot.
    """
    live: dict[str, bool | None] = {}
    probes: dict[str, Probe] = {}
    failures: dict[str, StreamsegError] = {}

    def probe(source: RunSource) -> Probe:
        present = check_present(replace(source, wait=False))
        live[source.name] = present.live
        return probe_source(present, seconds)

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        opened = {source.name: threads.submit(probe, source) for source in config.sources if source.kind != "push"}
        for name, future in opened.items():
            try:
                probes[name] = future.result()
            except StreamsegError as error:
                failures[name] = error
            except Exception as error:  # noqa: BLE001 - a driver raises anything
                failures[name] = StageError(f"the source failed: {type(error).__name__}: {error}")
    sources = tuple(replace(source, live=live.get(source.name, source.live)) for source in config.sources)
    return replace(config, sources=sources), probes, failures


def _measure(
    config: Config, probes: dict[str, Probe]
) -> tuple[Load | StreamsegError, Keyframes | StreamsegError | None]:
    """Measure the models that a run would use now, without downloading any."""
    live = config.resolved_mode == "live"
    threads = {entry.name: entry.threads(config.threads, live=live) for entry in STAGES}
    try:
        detector, segmenter = find_models(config)
    except StreamsegError as error:
        return error, None
    config = replace(config, detector=detector, segmenter=segmenter)
    return (
        _or_error(lambda: measure_load(config, probes, threads["detect"])),
        _or_error(lambda: measure_keyframes(config, probes, threads["segment"])),
    )


def _or_error(measure: Callable[[], _Measured]) -> _Measured | StreamsegError:
    try:
        return measure()
    except StreamsegError as error:
        return error


def _checks(config: Config, probes: dict[str, Probe], failures: dict[str, StreamsegError]) -> Iterator[Check]:
    # As in a run: without some of its sources it starts, unless the settings say otherwise.
    awaited = any(source.wait or source.kind == "push" for source in config.sources)
    needed = not (probes or awaited) or config.on_source_failure == "end"
    for source in config.sources:
        name = f"source {source.name}"
        if source.name in probes:
            yield source_check(config, source.name, probes[source.name].figures)
        elif source.kind == "push":
            yield Check(name=name, ok=True, needed=False, detail="not probed, a program sends its frames during a run")
        elif source.wait:
            check = _failed(name, failures[source.name])
            yield replace(check, detail=f"not probed, a run waits for it: {check.detail}")
        else:
            yield _failed(name, failures[source.name], needed=needed)


def _cost_checks(
    load: Load | StreamsegError | None, keyframes: Keyframes | StreamsegError | None, sources: int
) -> Iterator[Check]:
    match load:
        case Load():
            yield load_check(load)
        case StreamsegError():
            yield _failed("load", load)
    match keyframes:
        case Keyframes():
            yield keyframes_check(keyframes, sources)
        case StreamsegError():
            yield _failed("keyframes", keyframes)


def source_check(config: Config, name: str, figures: SourceFigures) -> Check:
    """Report what a source sends, with a hint if it sends more pixels than the models use."""
    (source,) = config.of(name).sources
    width, height = figures.size
    used = config.segmenter.imgsz
    large = source.kind == "rtsp" and max(width, height) > _MUCH_LARGER * used
    parts = (
        f"{width}x{height} {figures.codec or '-'}",
        f"{_figure(figures.fps, '.1f')} frames/s",
        f"jitter {_figure(figures.jitter_ms, '.1f')} ms",
        f"lost packets {_figure(figures.lost_packets, 'd')}",
        f"reading takes {_figure(figures.read_share, '.0%')} of a core",
    )
    hint = f"the models use {used} pixels a side: a smaller stream (sub-stream) of the camera costs less"
    return Check(name=f"source {name}", ok=True, needed=False, detail=", ".join(parts), remedy=hint if large else None)


def load_check(load: Load) -> Check:
    """Report what the frames of all sources cost together, with remedies if that is too much."""
    parts = [f"{load.detector} {load.detect_ms:.0f} ms a frame", f"reading takes {load.read_share:.0%} of a core"]
    if load.detect_share is not None:
        parts.append(f"frames need {load.detect_share:.0%} of the detector's time")
    remedies = " and ".join(load.remedies)
    return _cost_check("load", parts, remedies or None)


def keyframes_check(keyframes: Keyframes, sources: int) -> Check:
    """Report how often the sources can be segmented, with a remedy if that is too seldom."""
    every = "the source gets" if sources == 1 else f"all {sources} sources together get"
    parts = [
        f"{keyframes.segmenter} {keyframes.segment_ms:.0f} ms a keyframe with {BOXES} objects",
        f"{every} up to {keyframes.rate:.1f} keyframes/s",
    ]
    if sources > 1:
        parts.append(f"each up to {keyframes.source_rate:.1f}")
    return _cost_check("keyframes", parts, keyframes.remedy)


def _cost_check(name: str, parts: list[str], remedy: str | None) -> Check:
    return Check(
        name=name,
        ok=remedy is None,
        needed=False,
        detail=", ".join(parts),
        remedy=None if remedy is None else f"try {remedy}",
    )


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _failed(name: str, error: StreamsegError, *, needed: bool = False) -> Check:
    def fail() -> Check:
        raise error

    return run_check(name, fail, needed=needed)
