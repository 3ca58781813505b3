"""Tracing: where the time of a run goes, as a trace for Perfetto or chrome://tracing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from rar_cli.errors import UsageError

ACTIVE = 8
"""Groups of pictures that a trace covers: traces grow fast."""


@contextmanager
def profiled(path: Path | None) -> Iterator[Callable[[], None] | None]:
    """Trace a run into `path`. Yields a function to call after every group of pictures, None where path is None."""
    if path is None:
        yield None
        return
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)

    trace = profile(activities=activities, record_shapes=True)
    groups = 0

    def finish() -> None:
        trace.stop()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            trace.export_chrome_trace(str(path))
        except (OSError, RuntimeError) as error:
            raise UsageError(f"{path}: the trace cannot be written ({error})") from error

    def step() -> None:
        nonlocal groups
        groups += 1
        if groups == ACTIVE:
            finish()

    trace.start()
    yield step
    if groups < ACTIVE:
        finish()
