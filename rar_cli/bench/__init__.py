"""Benchmarks: suites, metrics, peers, cost. `run.bench` is what `rar bench` calls."""

from __future__ import annotations

import importlib.util

from rar_cli.errors import UsageError

NEEDED = {"skimage": "scikit-image", "scipy": "scipy", "pywt": "PyWavelets"}
"""Modules that metrics and peers import -> their packages, all of the extra `bench`."""


def require() -> None:
    """Raise UsageError with the curing command where a package of the extra `bench` is missing."""
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(f'rar bench needs {", ".join(missing)}: pip install "rar-cli[bench]"')
