"""Request: what a run should do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rar_cli.train.data import OnEach

Say = Callable[[str], None]


@dataclass(frozen=True)
class TrainRequest:
    """data, valid: folders of photographs. out: where checkpoints, ledger and weights go.

    warm_start: a weights folder to begin from. hours: stop after so many, at a checkpoint; 0: after one step.
    interrupted: called after every step. Once it is true, the run writes checkpoint and weights and returns,
    without a validation. on_step: gets how many are done, how many there are and what is done. Photographs are read
    first, then something is fitted, then come the steps of each stage. Only the main process reports steps.
    """

    data: Sequence[Path]
    out: Path
    valid: Sequence[Path] = ()
    warm_start: Path | None = None
    resume: bool = False
    hours: float | None = None
    interrupted: Callable[[], bool] = lambda: False
    on_step: OnEach | None = None
