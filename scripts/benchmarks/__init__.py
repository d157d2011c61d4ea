"""Benchmarks for developers, not part of the wheel: run them with `./scripts/bench NAME`."""
