"""Presents the figures of a run as metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
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
    from collections.abc import Mapping, Sequence

    from streamseg.monitor.latency import Histogram
    from streamseg.monitor.stats import RunStats


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What a run is: the labels of the metric `streamseg_info`.

    Attributes:
        source: Name of the source on the wire; its address may hold a password.
    """

    version: str
    source: str
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
            metrics = [*self._state(), *self._frames(), *self._objects(), *self._losses()]
        yield from metrics

    def _state(self) -> Iterator[Metric]:
        stats = self._stats
        yield GaugeMetricFamily("streamseg_up", "1 while every stage runs, 0 while one starts.", value=stats.up)
        if self.info is not None:
            yield InfoMetricFamily("streamseg", "Version, source and models of the run.", value=asdict(self.info))
        yield GaugeMetricFamily(
            "streamseg_source_connected",
            "1 while the source delivers frames, 0 while it is disconnected.",
            value=stats.connected,
        )
        yield GaugeMetricFamily(
            "streamseg_subscribers",
            "Programs connected to the publisher: subscribers, windows, and the proxy if there is one.",
            value=stats.subscribers,
        )
        yield _by_label(
            CounterMetricFamily("streamseg_stage_restarts", "Restarts of a stage.", labels=["stage"]), stats.restarts
        )

    def _frames(self) -> Iterator[Metric]:
        stats = self._stats
        yield CounterMetricFamily("streamseg_frames_published", "Published frames.", value=stats.frames)
        yield CounterMetricFamily(
            "streamseg_frames_with_own_boxes",
            "Published frames whose boxes were found on the frame itself.",
            value=stats.frames_with_own_boxes,
        )
        yield CounterMetricFamily(
            "streamseg_keyframes_segmented",
            "Segmented keyframes whose masks reached a published frame.",
            value=stats.keyframes,
        )
        yield _histogram(
            "streamseg_frame_age_seconds",
            "Age of a frame when it is published, since its capture.",
            stats.frame_age_ms,
            FRAME_AGES_MS,
        )
        yield _histogram(
            "streamseg_mask_age_seconds",
            "Time from the frame that a mask was made on to the frame it is published with.",
            stats.mask_age_ms,
            MASK_AGES_MS,
        )

    def _objects(self) -> Iterator[Metric]:
        stats = self._stats
        yield GaugeMetricFamily("streamseg_objects", "Objects in the newest frame.", value=stats.newest_objects)
        yield _by_label(
            GaugeMetricFamily(
                "streamseg_masks", "Masks in the newest frame, by the method that made them.", labels=["method"]
            ),
            stats.newest_masks,
        )

    def _losses(self) -> Iterator[Metric]:
        frames = dict(self._stats.dropped)
        masks = frames.pop("masks_limited")
        yield _by_label(
            CounterMetricFamily("streamseg_frames_dropped", "Frames that a stage missed, by cause.", labels=["cause"]),
            frames,
        )
        yield CounterMetricFamily(
            "streamseg_masks_limited", "Masks left out to keep messages within their size limit.", value=masks
        )


def _by_label(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, int]
) -> CounterMetricFamily | GaugeMetricFamily:
    for label, value in values.items():
        family.add_metric([label], value)
    return family


def _histogram(name: str, text: str, histogram: Histogram, bounds_ms: Sequence[float]) -> HistogramMetricFamily:
    counts = zip(bounds_ms, histogram.cumulative(), strict=True)
    buckets = [(str(bound / 1e3), count) for bound, count in counts]
    return HistogramMetricFamily(
        name, text, buckets=[*buckets, ("+Inf", histogram.count)], sum_value=histogram.total / 1e3
    )
