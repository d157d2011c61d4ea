from __future__ import annotations

from benchmarks.links import bench_links


def test_figures_of_a_short_measurement() -> None:
    figures = bench_links(frames=5)
    assert figures.frames == 5
    assert 0 < figures.pipeline_p50_ms <= figures.pipeline_p99_ms < 10_000
    assert 0 < figures.picture_p50_ms <= figures.picture_p99_ms < 10_000
    assert 0 < figures.queue_p50_ms <= figures.queue_p99_ms < 10_000
    assert 0 < figures.zeromq_p50_ms <= figures.zeromq_p99_ms < 10_000
