"""Benchmarks: suites, metrics, peers, cost. `run.bench` is what `rar bench` calls."""
