from __future__ import annotations

from benchmarks.wire import bench_wire


def test_figures_of_a_short_measurement() -> None:
    figures = bench_wire(rounds=2, imports=1)
    assert figures.masks == 10
    assert 0 < figures.encode_ms < 1000
    assert 0 < figures.decode_ms < 1000
    assert figures.mask_bytes < figures.message_bytes < 20_000
    assert 1 < figures.import_ms < 60_000
