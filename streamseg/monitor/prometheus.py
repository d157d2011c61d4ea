"""Presents the figures of a run as metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from streamseg.monitor.stats import FRAME_AGES_MS, MASK_AGES_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamseg.monitor.latency import Histogram
    from streamseg.monitor.stats import RunStats


_MASKS_LIMITED = "masks_limited"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What a run is: labels of the metric `streamseg_info`, beside the names of the sources on the wire."""

    version: str
    detector: str
    segmenter: str


class StatsCollector(Collector):
    """Presents the figures of a run as Prometheus metrics, read at each scrape.

    Attributes:
        info: Of the run; there is no such metric while this is None.
    """

    def __init__(self, stats: RunStats) -> None:
        self._stats = stats
        self.info: RunInfo | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, all of the same moment."""
        with self._stats.lock:
            metrics = [*self._run(), *self._sources()]
        yield from metrics

    def _run(self) -> Iterator[Metric]:
        stats = self._stats
        yield GaugeMetricFamily("streamseg_up", "1 while every stage runs, 0 while one starts.", value=stats.up)
        if self.info is not None:
            labels = {"sources": ",".join(stats.present), **asdict(self.info)}  # addresses may hold passwords
            yield InfoMetricFamily("streamseg", "Version, sources and models of the run.", value=labels)
        yield GaugeMetricFamily(
            "streamseg_subscribers",
            "Programs connected to the publisher: subscribers, windows, and the proxy if there is one.",
            value=stats.subscribers,
        )
        restarts = CounterMetricFamily("streamseg_stage_restarts", "Restarts of a stage.", labels=["stage"])
        for stage, count in stats.restarts.items():
            restarts.add_metric([stage], count)
        yield restarts

    def _sources(self) -> Iterator[Metric]:
        sources = self._stats.present
        yield _gauge(
            "source_connected",
            "1 while the source delivers frames, 0 while it is disconnected.",
            {(name,): stats.connected for name, stats in sources.items()},
        )
        yield _counter(
            "frames_published", "Published frames.", {(name,): each.frames for name, each in sources.items()}
        )
        yield _counter(
            "frames_with_own_boxes",
            "Published frames whose boxes were found on the frame itself.",
            {(name,): stats.frames_with_own_boxes for name, stats in sources.items()},
        )
        yield _counter(
            "keyframes_segmented",
            "Segmented keyframes whose masks reached a published frame.",
            {(name,): stats.keyframes for name, stats in sources.items()},
        )
        yield _histograms(
            "frame_age_seconds",
            "Age of a frame when it is published, since its capture.",
            {name: stats.frame_age_ms for name, stats in sources.items()},
            FRAME_AGES_MS,
        )
        yield _histograms(
            "mask_age_seconds",
            "Time from the frame that a mask was made on to the frame it is published with.",
            {name: stats.mask_age_ms for name, stats in sources.items()},
            MASK_AGES_MS,
        )
        yield _gauge(
            "objects", "Objects in the newest frame.", {(name,): each.newest_objects for name, each in sources.items()}
        )
        yield _gauge(
            "masks",
            "Masks in the newest frame, by the method that made them.",
            {(name, way): count for name, stats in sources.items() for way, count in stats.newest_masks.items()},
            "method",
        )
        yield _counter(
            "frames_dropped",
            "Frames that a stage missed, by cause.",
            {
                (name, cause): count
                for name, stats in sources.items()
                for cause, count in stats.dropped.items()
                if cause != _MASKS_LIMITED
            },
            "cause",
        )
        yield _counter(
            "masks_limited",
            "Masks left out to keep messages within their size limit.",
            {(name,): stats.dropped[_MASKS_LIMITED] for name, stats in sources.items()},
        )


_Values = Mapping[tuple[str, ...], float]
"""By source and, where there is another label, its value."""


def _gauge(name: str, text: str, values: _Values, *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"streamseg_{name}", text, labels=["source", *labels])
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def _counter(name: str, text: str, values: _Values, *labels: str) -> CounterMetricFamily:
    family = CounterMetricFamily(f"streamseg_{name}", text, labels=["source", *labels])
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def _histograms(
    name: str, text: str, histograms: Mapping[str, Histogram], bounds_ms: Sequence[float]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"streamseg_{name}", text, labels=["source"])
    for source, histogram in histograms.items():
        counts = zip(bounds_ms, histogram.cumulative(), strict=True)
        buckets = [(str(bound / 1e3), count) for bound, count in counts]
        family.add_metric([source], [*buckets, ("+Inf", histogram.count)], histogram.total / 1e3)
    return family
